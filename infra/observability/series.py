"""The metrics that alarms and dashboard read: whose they are, and by which dimension they are told apart."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from infra.names import Names


@dataclass(frozen=True, slots=True)
class Series:
    """One metric, exactly as its publisher names it: with other dimensions it would be an empty graph."""

    namespace: str
    name: str
    dimensions: Mapping[str, str] = field(default_factory=dict)


def forwarder(names: Names, name: str) -> Series:
    """By Lambda itself."""
    return Series("AWS/Lambda", name, {"FunctionName": names.function("forwarder")})


def queue(name: str, queue_name: str) -> Series:
    """By SQS itself."""
    return Series("AWS/SQS", name, {"QueueName": queue_name})


def rollouts(names: Names, name: str) -> Series:
    """By the adapter, one value a finished rollout (adapters/runtime/telemetry.py)."""
    environment = names.settings.adapter.environment
    return Series(names.settings.name, name, {"Environment": environment})


def deployment(names: Names, name: str) -> Series:
    """By the job watcher and the gauges, one value a minute."""
    return Series(names.settings.name, name, {"Deployment": names.settings.name})


def refusals(names: Names) -> Series:
    """By the metric filter on the forwarder's log."""
    return Series(names.settings.name, "ForwarderRefusals")
