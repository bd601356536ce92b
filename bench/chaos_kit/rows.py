"""The rows of the fault table: what is injected, and what the system is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.chaos_kit.injectors import (
    Injector,
    aws_down,
    junk,
    kill_at_random,
    pause_workers,
    rolling_restart,
    service_down,
)

EPISODE_TURNS, SAMPLE_SECONDS = 5, 2.1
"""An episode lasts at least 10 s: shorter ones would hide what a restart costs."""
CLAIMS_BUCKET, LOG_BUCKET = "claims", "logs"
LOG_VARIABLE = "MTRL_ROLLOUT_LOG_BUCKET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One fault, and the system that it is injected into."""

    name: str
    says: str
    inject: Injector | None = None
    completes: bool = False
    """The injector ends by itself, and the run waits for that also when the job has ended."""
    worker: Mapping[str, str] = field(default_factory=dict)
    """Variables of the workers."""
    service: tuple[str, ...] = ()
    """Options of the stand-in."""
    forwarder: Mapping[str, str] = field(default_factory=dict)
    """Variables of the forwarder (see forwarder.py)."""
    fails: Mapping[str, float] = field(default_factory=dict)
    """By AWS service (sqs, dynamodb, s3): the share of the workers' calls that fails."""
    relays: tuple[str, ...] = ()
    """AWS services that the workers reach through a relay."""
    twice: float = 0.0
    """The share of messages that reach the queue twice."""
    poison: bool = False
    """Some prompts are no task of the environment."""
    turns: int = EPISODE_TURNS
    sample_seconds: float = SAMPLE_SECONDS
    sample_timeout: float = 10.0
    timeout: int = 600
    """Seconds that the service gives a rollout, and its budget in the workers."""
    attempts: int = 1
    """Of the service, at a rollout. More than one would hide a loss: only where retries are the point."""
    in_flight: int = 96
    """Rollouts at once, over all workers; the service takes 32 to 96."""
    interval: float = 8.0
    """Between two faults, in seconds."""
    startups: float = 3.0
    """The interval is at least so many start-ups of a worker: else there is nothing left to hit."""
    at_most: int | None = None
    """Rollouts, where one lasts so long that a thousand would take an hour."""
    late_calls: bool = False
    """The service closes trajectories by itself. Otherwise nothing that a worker asks may be refused."""
    may_fail: bool = False
    """What is injected may cost a trajectory its reward: it is sealed `failed`, and counted apart."""
    hits_all: bool = False
    """The fault is in every rollout."""
    drains: bool = False
    """A worker that is told to stop must be gone soon after its slowest Sample."""
    may_repeat: bool = False
    """A worker may die, or lose the ledger, between an answer and its log. Else no Sample is made again."""

    @property
    def hurts_service(self) -> bool:
        """The faults are the stand-in's own."""
        return "--fault" in self.service

    @property
    def lease(self) -> float:
        """As the queue worker derives it from the request timeout."""
        return 2 * self.sample_timeout + 30


def _all_rows() -> tuple[Row, ...]:
    kill = "kill -9 of a random worker, all through the run"
    return (
        Row(name="none", says="nothing is injected"),
        Row(
            name="sigterm",
            says="rolling restart of all workers, all through the run",
            inject=rolling_restart,
            drains=True,
        ),
        Row(
            name="sigterm-fast",
            says="the same, with a policy that answers in 0.2 s (fewer rollouts at once: it is a busy one)",
            inject=rolling_restart,
            drains=True,
            turns=20,
            sample_seconds=0.2,
            in_flight=32,
        ),
        Row(
            name="sigterm-slow",
            says="the same, with a policy that answers in 20 s",
            inject=rolling_restart,
            drains=True,
            turns=3,
            sample_seconds=20.0,
            sample_timeout=40.0,
        ),
        *(
            Row(
                name=f"kill-{what}",
                says=f"{kill}; on_crash={what}",
                inject=kill_at_random,
                # A killed worker's messages stay hidden for 120 s: more kills would leave nothing at work.
                interval=20.0,
                worker={"MTRL_ON_CRASH": what},
                # What is left to the service ends by its timeout, and its retry is the rollout that counts.
                timeout=300 if what == "leave" else 600,
                attempts=10 if what == "leave" else 1,
                late_calls=what == "leave",
                may_fail=True,
                may_repeat=True,
            )
            for what in ("fail", "leave", "resume")
        ),
        Row(
            name="pause",
            says="SIGSTOP of two workers for 135 s (two leases and more), then SIGCONT; twice",
            inject=pause_workers,
            completes=True,
            may_fail=True,
        ),
        Row(name="duplicates", says="12 % of the messages reach the queue twice", twice=0.12),
        Row(
            name="forwarder-twice",
            says="the forwarder is invoked twice for 12 % of the rollouts",
            forwarder={"CHAOS_TWICE": "0.12"},
        ),
        *(
            Row(
                name=f"retries-{ids}",
                says=f"12 % of the forwarder's successes are reported as errors; retries {ids} the id",
                forwarder={"CHAOS_SAYS_FAILED": "0.12"},
                service=("--retry-ids", ids),
                attempts=10,
                late_calls=ids == "renew",
            )
            for ids in ("reuse", "renew")
        ),
        Row(
            name="service-faults",
            says="Job Runtime: 20 % 429, 10 % 5xx, 5 % resets, 3 % lost after the commit",
            service=(
                "--fault",
                "429=0.2",
                "--fault",
                "5xx=0.1",
                "--fault",
                "reset=0.05",
                "--fault",
                "lost=0.03",
            ),
        ),
        Row(
            name="service-down",
            says="the Job Runtime refuses connections for 60 s, twice",
            inject=service_down(60.0),
            completes=True,
        ),
        *(
            Row(
                name=f"{service}-fails",
                says=f"20 % of the calls to {service} fail",
                fails={service: rate},
                may_fail=service == "dynamodb",
                may_repeat=service == "dynamodb",
            )
            for service, rate in {"sqs": 0.2, "dynamodb": 0.2}.items()
        ),
        # The workers call S3 for the logs of rollouts that are handed over, so there must be some.
        Row(
            name="s3-fails",
            says="20 % of the calls to s3 fail, while all workers are restarted",
            fails={"s3": 0.2},
            inject=rolling_restart,
        ),
        *(
            Row(
                name=f"{service}-down",
                says=f"{service} refuses connections for 30 s, then works for 35 s, and again",
                relays=(service,),
                inject=aws_down(service, 30.0),
                may_fail=service == "dynamodb",
                may_repeat=service == "dynamodb",
            )
            for service in ("sqs", "dynamodb")
        ),
        Row(
            name="slow-policy",
            says="a Sample takes 130 s, longer than a message stays hidden without a heartbeat",
            turns=2,
            sample_seconds=130.0,
            sample_timeout=160.0,
            hits_all=True,
            at_most=200,
        ),
        Row(
            name="poison",
            says="prompts of an unknown environment, malformed, oversized; messages that are no requests",
            poison=True,
            may_fail=True,
            inject=junk,
            completes=True,
        ),
    )


ROWS: Mapping[str, Row] = {row.name: row for row in _all_rows()}
