"""One alarm: a metric on its own, a threshold, and the runbook that says what to do.

No metric math: every figure that needs some is published as a metric (lambda/gauges), and a rate is the
average of a metric that is 0 or 1 for each rollout.
"""

from dataclasses import dataclass
from typing import Literal

from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.names import Names
from infra.observability.series import Series
from infra.settings import Deployment

MINUTE = 60
TEN_SECONDS = 10
"""The shortest period; its metric must be published to the second."""
DAY = 24 * 60 * MINUTE


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A row of the table in alarms.py."""

    id: str
    """Names the alarm (`<name>-<id>`) and its page `docs/runbooks/<id>.md`."""
    series: Series
    statistic: Literal["Sum", "Average", "Maximum"]
    threshold: float
    """Above it the alarm is raised."""
    says: str
    """What is the matter when it is raised: a sentence that the operator reads first."""
    seconds: int = MINUTE
    """The period that is judged."""
    periods: int = 1
    """Periods in a row that must be above the threshold."""
    silence: Literal["fine", "trouble", "nothing"] = "fine"
    """What it means that there is no figure: `trouble` if one is published every period, `nothing` if the
    alarm should stay as it is until the next one."""

    @property
    def runbook(self) -> str:
        return f"docs/runbooks/{self.id}.md"

    def link(self, settings: Deployment) -> str:
        """The page's address if the repository has one, else its path."""
        base = settings.observability.runbooks_url
        return f"{base}/{self.runbook}" if base else self.runbook


MISSING = {"fine": "notBreaching", "trouble": "breaching", "nothing": "ignore"}


def build(scope: Construct, alarm: Alarm, names: Names) -> cloudwatch.CfnAlarm:
    """The alarm, which tells the topic when it is raised and when it is over."""
    dimensions = [
        cloudwatch.CfnAlarm.DimensionProperty(name=name, value=value)
        for name, value in alarm.series.dimensions.items()
    ]
    return cloudwatch.CfnAlarm(
        scope,
        alarm.id,
        alarm_name=f"{names.settings.name}-{alarm.id}",
        alarm_description=f"{alarm.says} What to do: {alarm.link(names.settings)}",
        namespace=alarm.series.namespace,
        metric_name=alarm.series.name,
        dimensions=dimensions,
        statistic=alarm.statistic,
        period=alarm.seconds,
        evaluation_periods=alarm.periods,
        threshold=alarm.threshold,
        comparison_operator="GreaterThanThreshold",
        treat_missing_data=MISSING[alarm.silence],
        alarm_actions=[names.topic_arn],
        ok_actions=[names.topic_arn],
    )
