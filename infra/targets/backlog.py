"""When there are too few workers, and when there are too many.

A worker receives no more than it can start, so a message that stays visible is one that no worker has room
for: it takes one more worker for each `max_concurrency` of them. Workers go only when nothing is waiting and
nothing is in flight: fewer workers in the middle of a step would cut rollouts that somebody pays for.
"""

import aws_cdk as cdk
from aws_cdk import aws_cloudwatch as cloudwatch
from constructs import Construct

from infra.names import Names
from infra.policy.acknowledgments import HIPAA, NIST, acknowledge_in
from infra.target_settings import Workers

PERIOD = cdk.Duration.minutes(1)
MOST_STEPS = 20
"""A step policy takes no more steps."""
START_SECONDS = 120
"""Until a new worker receives its first message; messages seen before that must not be counted twice."""


def waiting(names: Names) -> cloudwatch.Metric:
    return _queue_metric(names, "ApproximateNumberOfMessagesVisible")


def unfinished(names: Names) -> cloudwatch.MathExpression:
    """Waiting or in flight; in flight includes what is hidden after a failure."""
    return cloudwatch.MathExpression(
        expression="visible + hidden",
        using_metrics={
            "visible": waiting(names),
            "hidden": _queue_metric(names, "ApproximateNumberOfMessagesNotVisible"),
        },
        period=PERIOD,
        label="rollouts waiting or in flight",
    )


def steps(per_worker: int, workers: Workers) -> list[tuple[int, int | None, int]]:
    """(messages above the threshold from, to, workers to add), for a threshold of one waiting message."""
    room = max(1, workers.max)
    stride = max(1, -(-room // MOST_STEPS))
    bounds = list(range(0, room, stride))
    found: list[tuple[int, int | None, int]] = []
    for position, below in enumerate(bounds):
        last = position == len(bounds) - 1
        upper = None if last else bounds[position + 1] * per_worker
        found.append((below * per_worker, upper, room if last else bounds[position + 1]))
    return found


def waiting_alarm(scope: Construct, names: Names) -> cloudwatch.Alarm:
    """One waiting message for a minute."""
    alarm = waiting(names).create_alarm(
        scope,
        "Waiting",
        alarm_name=f"{names.settings.name}-{names.settings.target.kind}-scale-out",
        alarm_description="Scales out: rollouts wait for which no worker has room.",
        comparison_operator=cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
        threshold=1,
        evaluation_periods=1,
        treat_missing_data=cloudwatch.TreatMissingData.NOT_BREACHING,
    )
    return _for_scaling(alarm)


def idle_alarm(scope: Construct, names: Names, workers: Workers) -> cloudwatch.Alarm:
    """Nothing waiting or in flight for a while. A queue unused for hours has no metrics: idle too."""
    alarm = unfinished(names).create_alarm(
        scope,
        "Idle",
        alarm_name=f"{names.settings.name}-{names.settings.target.kind}-scale-in",
        alarm_description="Scales in: no rollout waits, and none is in flight.",
        comparison_operator=cloudwatch.ComparisonOperator.LESS_THAN_THRESHOLD,
        threshold=1,
        evaluation_periods=workers.idle_minutes,
        treat_missing_data=cloudwatch.TreatMissingData.BREACHING,
    )
    return _for_scaling(alarm)


def _for_scaling(alarm: cloudwatch.Alarm) -> cloudwatch.Alarm:
    reason = "It drives scaling, by an action that the scaling policy adds; nobody is to be woken by it."
    acknowledge_in(alarm, reason, "CloudWatchAlarmAction", (NIST, HIPAA))
    return alarm


def _queue_metric(names: Names, name: str) -> cloudwatch.Metric:
    return cloudwatch.Metric(
        namespace="AWS/SQS",
        metric_name=name,
        dimensions_map={"QueueName": names.queue},
        statistic="Maximum",
        period=PERIOD,
    )
