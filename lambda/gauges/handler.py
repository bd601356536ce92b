"""The gauges: two figures that no single metric of the deployment holds, published at least once a minute.

    WaitingWithoutWorker   messages that wait on the queue while none is in flight (queue targets only)
    FlatRewards            rollouts of the last 15 minutes, if there are enough and all got the same reward

They are metrics of their own, and no metric math in an alarm, for two reasons. SQS stops publishing the
metrics of a queue that nothing has touched for six hours, and takes up to 15 minutes to begin again, which is
when the first rollout of a job arrives: reading the queue's attributes has no such gap. And rewards must be
judged over a least number of rollouts, or two easy tasks would look like a collapse.

The tick says how often to look at the queue: {"looks": 3} is at once and after 20 and 40 s, so that waiting
work is seen long before the next tick. Without it, and by hand, it is one look.

Each figure is published on every tick, 0 if all is well, so that silence means a broken gauge. They are put
by PutMetricData, not as log lines, because an alarm waits for them; WaitingWithoutWorker to the second,
because that alarm judges every 10 s.

Environment variables:
    MTRL_METRICS_NAMESPACE   where the adapter's metrics are and the gauges go (required)
    MTRL_DEPLOYMENT          the gauges' dimension (required)
    MTRL_ENVIRONMENT         the dimension of the adapter's metrics (required)
    MTRL_QUEUE_URL           the queue; without it WaitingWithoutWorker is not published

IAM actions: sqs:GetQueueAttributes on the queue; cloudwatch:GetMetricStatistics and cloudwatch:PutMetricData,
which name no resource (the latter is bounded by the condition key cloudwatch:namespace).
"""

import os
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
from botocore.config import Config

LOOK_SECONDS = 20.0
"""Between two looks of one tick."""
SECOND_LOOK_SECONDS = 10.0
"""Between two looks at a queue whose messages seem abandoned: an idle worker takes one within a second."""
WINDOW = timedelta(minutes=15)
LEAST_ROLLOUTS = 32
"""Fewer rewards than this can be equal by chance."""
SAME = 1e-6
"""Rewards closer than this are the same to any advantage."""

_CONFIG = Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": 2})
_clients: dict[str, Any] = {}


def handler(event: Any, context: object) -> dict[str, float]:
    """Publish what can be told now; the last figures are also the answer."""
    figures: dict[str, float] = {}
    queue = os.environ.get("MTRL_QUEUE_URL")
    if queue:
        figures["WaitingWithoutWorker"] = _watch(queue, int(event.get("looks", 1)))
    figures["FlatRewards"] = _flat_rewards()
    _publish("FlatRewards", figures["FlatRewards"], resolution=60)
    return figures


def _watch(queue: str, looks: int) -> float:
    """Look at even intervals, and publish each figure as soon as it is known."""
    began = time.monotonic()
    waiting = 0.0
    for look in range(looks):
        time.sleep(max(0.0, began + look * LOOK_SECONDS - time.monotonic()))
        waiting = _waiting_without_worker(queue)
        _publish("WaitingWithoutWorker", waiting, resolution=1)
    return waiting


def _waiting_without_worker(queue: str) -> float:
    """The smaller of two looks, so that a message on its way to a worker does not count."""
    first = _abandoned(queue)
    if first == 0:
        return 0.0
    time.sleep(SECOND_LOOK_SECONDS)
    return float(min(first, _abandoned(queue)))


def _abandoned(queue: str) -> int:
    """Messages visible, or 0 as soon as one is in flight: then somebody works."""
    wanted = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    found = _client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=wanted)["Attributes"]
    visible, in_flight = (int(found[name]) for name in wanted)
    return 0 if in_flight else visible


def _flat_rewards() -> float:
    """How many rewards there are if they are all the same, and enough to say so."""
    now = datetime.now(UTC)
    points = _client("cloudwatch").get_metric_statistics(
        Namespace=os.environ["MTRL_METRICS_NAMESPACE"],
        MetricName="Reward",
        Dimensions=[{"Name": "Environment", "Value": os.environ["MTRL_ENVIRONMENT"]}],
        StartTime=now - WINDOW,
        EndTime=now,
        Period=60,
        Statistics=["Minimum", "Maximum", "SampleCount"],
    )["Datapoints"]
    count = sum(point["SampleCount"] for point in points)
    if count < LEAST_ROLLOUTS:
        return 0.0
    lowest, highest = min(p["Minimum"] for p in points), max(p["Maximum"] for p in points)
    return float(count) if highest - lowest < SAME else 0.0


def _publish(name: str, value: float, *, resolution: int) -> None:
    _client("cloudwatch").put_metric_data(
        Namespace=os.environ["MTRL_METRICS_NAMESPACE"],
        MetricData=[
            {
                "MetricName": name,
                "Dimensions": [{"Name": "Deployment", "Value": os.environ["MTRL_DEPLOYMENT"]}],
                "Value": value,
                "Unit": "None",
                "StorageResolution": resolution,
            }
        ],
    )


def _client(service: str) -> Any:
    if service not in _clients:
        _clients[service] = boto3.client(service, config=_CONFIG)
    return _clients[service]
