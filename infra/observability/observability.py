"""Assembles what watches a deployment. It needs the foundation and the intake, and no adapter.

Everything is referred to by its literal name, so that this stack can be deployed before, after or without
those it watches. Two things are left out on purpose. A metric filter on the adapter's log group would need
the group to exist; the adapter's metrics are EMF lines, which need nothing, and what it only logs (`killed`,
`queue_unreachable`, `message_broke`) shows in the age of the oldest message, in work without a worker, and in
failed or imputed rollouts. And metric math in alarms: see lambda/gauges.
"""

from pathlib import Path

from aws_cdk import aws_kms as kms
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.names import Names
from infra.observability.alarm import build
from infra.observability.alarms import alarms
from infra.observability.dashboard import dashboard
from infra.observability.series import refusals
from infra.observability.watchers import gauges, job_watcher
from infra.settings import Deployment


class Observability(Construct):
    """Alarms, dashboard, job watcher and gauges of one deployment."""

    def __init__(self, scope: Construct, *, settings: Deployment, key: kms.IKey, root: Path) -> None:
        super().__init__(scope, "Observability")
        names = Names(settings)
        table = alarms(settings)
        for alarm in table:
            build(self, alarm, names)
        dashboard(self, settings, table)
        job_watcher(self, settings=settings, key=key, root=root)
        gauges(self, settings=settings, key=key, root=root)
        if settings.queued:
            _count_refusals(self, names)


def _count_refusals(scope: Construct, names: Names) -> None:
    """The forwarder answers errors and never raises them, so Lambda's own Errors metric does not see them."""
    series = refusals(names)
    logs.CfnMetricFilter(
        scope,
        "Refusals",
        filter_name=series.name,
        log_group_name=f"/aws/lambda/{names.function('forwarder')}",
        filter_pattern='{ $.event = "not_forwarded" }',
        metric_transformations=[
            logs.CfnMetricFilter.MetricTransformationProperty(
                metric_namespace=series.namespace, metric_name=series.name, metric_value="1"
            )
        ],
    )
