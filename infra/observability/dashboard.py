"""The dashboard: intake, rollouts, rewards against score, jobs, and where each alarm's page is."""

from collections.abc import Callable, Sequence

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.names import Names
from infra.observability.alarm import Alarm
from infra.observability.series import Series, deployment, forwarder, queue, refusals, rollouts
from infra.settings import Deployment

MINUTE = cdk.Duration.minutes(1)
THIRD = 8
"""A row is 24 wide."""


def dashboard(scope: Construct, settings: Deployment, alarms: Sequence[Alarm]) -> cloudwatch.Dashboard:
    """`<name>`, one section a row."""
    names = Names(settings)
    rows: list[list[cloudwatch.IWidget]] = [[_runbooks(settings, alarms)]]
    if settings.queued:
        rows += [_title("Intake"), _intake(names)]
    rows += [_title("Rollouts"), _rollouts(names)]
    rows += [_title("Rewards against score"), _rewards(names)]
    rows += [_title("Jobs"), _jobs(names)]
    return cloudwatch.Dashboard(
        scope,
        "Dashboard",
        dashboard_name=settings.name,
        default_interval=cdk.Duration.hours(3),
        widgets=rows,
    )


def _intake(names: Names) -> list[cloudwatch.IWidget]:
    graph = _graphs(names.settings.region)
    return [
        graph(
            "Forwarder",
            _metric(forwarder(names, "Invocations"), "Sum"),
            _metric(forwarder(names, "Errors"), "Sum"),
            _metric(forwarder(names, "Throttles"), "Sum"),
            _metric(refusals(names), "Sum"),
        ),
        graph(
            "Queue",
            _metric(queue("ApproximateNumberOfMessagesVisible", names.queue), "Maximum", "waiting"),
            _metric(queue("ApproximateNumberOfMessagesNotVisible", names.queue), "Maximum", "in flight"),
            _metric(queue("ApproximateNumberOfMessagesVisible", names.dead_letters), "Maximum", "dead"),
            _metric(deployment(names, "WaitingWithoutWorker"), "Maximum", "waiting without a worker"),
        ),
        graph(
            "Oldest unfinished rollout (s)",
            _metric(queue("ApproximateAgeOfOldestMessage", names.queue), "Maximum", "age"),
        ),
    ]


def _rollouts(names: Names) -> list[cloudwatch.IWidget]:
    graph = _graphs(names.settings.region)
    return [
        graph(
            "Rollouts a minute",
            _metric(rollouts(names, "Rollouts"), "Sum"),
            _metric(rollouts(names, "Failed"), "Sum"),
            _metric(rollouts(names, "UncertainSamples"), "Sum"),
        ),
        graph(
            "Length",
            _metric(rollouts(names, "RolloutSeconds"), "p50", "seconds, median"),
            _metric(rollouts(names, "RolloutSeconds"), "p99", "seconds, p99"),
            _metric(rollouts(names, "Turns"), "Average"),
            _metric(rollouts(names, "ToolCalls"), "Average"),
        ),
        graph(
            "A rollout, on average",
            _metric(rollouts(names, "TokenCapHits"), "Average"),
            _metric(rollouts(names, "TurnsExhausted"), "Average"),
            _metric(rollouts(names, "TextToolCalls"), "Average"),
            _metric(rollouts(names, "ToolErrors"), "Average"),
            _metric(rollouts(names, "Rewrites"), "Average"),
        ),
    ]


def _rewards(names: Names) -> list[cloudwatch.IWidget]:
    graph = _graphs(names.settings.region)
    return [
        graph(
            "Reward and score",
            _metric(rollouts(names, "Reward"), "Average", "reward"),
            _metric(rollouts(names, "Score"), "Average", "score (never sent to the trainer)"),
        ),
        graph(
            "Spread of the rewards",
            _metric(rollouts(names, "Reward"), "Minimum", "lowest"),
            _metric(rollouts(names, "Reward"), "Maximum", "highest"),
            _metric(rollouts(names, "Reward"), "Average", "mean"),
        ),
        graph(
            "Rewards in doubt",
            _metric(rollouts(names, "RewardScoreDisagreement"), "Sum"),
            _metric(rollouts(names, "Imputed"), "Sum"),
            _metric(deployment(names, "FlatRewards"), "Maximum", "rollouts with one and the same reward"),
        ),
    ]


def _jobs(names: Names) -> list[cloudwatch.IWidget]:
    graph = _graphs(names.settings.region)
    return [
        graph(
            "Jobs",
            _metric(deployment(names, "JobsRunning"), "Maximum"),
            _metric(deployment(names, "JobFailed"), "Sum"),
            _metric(deployment(names, "JobStopped"), "Sum"),
            _metric(deployment(names, "JobStalled"), "Maximum"),
        ),
        graph(
            "Progress",
            _metric(deployment(names, "JobProgress"), "Maximum"),
            _metric(deployment(names, "SecondsSinceProgress"), "Maximum"),
        ),
        graph("Billable tokens", _metric(deployment(names, "BillableTokens"), "Sum")),
    ]


def _runbooks(settings: Deployment, alarms: Sequence[Alarm]) -> cloudwatch.IWidget:
    linked = settings.observability.runbooks_url is not None
    pages = [f"[{alarm.id}]({alarm.link(settings)})" if linked else f"`{alarm.runbook}`" for alarm in alarms]
    text = f"# {settings.name}\nWhat to do when an alarm is raised: {' · '.join(pages)}"
    return cloudwatch.TextWidget(markdown=text, width=3 * THIRD, height=4)


def _title(text: str) -> list[cloudwatch.IWidget]:
    return [cloudwatch.TextWidget(markdown=f"## {text}", width=3 * THIRD, height=1)]


def _graphs(region: str) -> Callable[..., cloudwatch.IWidget]:
    """Graphs of metrics in a Region, which is named so that the body is a plain string."""

    def graph(title: str, *metrics: cloudwatch.IMetric) -> cloudwatch.IWidget:
        return cloudwatch.GraphWidget(title=title, left=list(metrics), region=region, width=THIRD, height=6)

    return graph


def _metric(series: Series, statistic: str, label: str | None = None) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace=series.namespace,
        metric_name=series.name,
        dimensions_map=dict(series.dimensions),
        statistic=statistic,
        period=MINUTE,
        label=label or series.name,
    )
