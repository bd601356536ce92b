"""The rows of the fault table: what is injected, and what the system is started with."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.chaos_kit.injectors import (
    Injector,
    aws_down,
    junk,
    kill_at_random,
    nobody_works,
    pause_workers,
    restarts_while_down,
    roll_out,
    rolling_restart,
    rotate_keys,
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
    plugin: str = ""
    """The fault of the environment itself (see faulty_sop.py); it has none if empty."""
    rotates: float = 0.0
    """Seconds between two keys of the workers' credentials; 0: one key for ever."""
    rejects: float = 0.0
    """The share of the trajectories with one call whose token is refused once."""
    deploys: str = ""
    """What is changed in a next release of the adapter, which is rolled out (see code.py); none if empty."""
    absent: bool = False
    """No worker is there at the start."""
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
    late_calls: bool = False
    """The service closes trajectories by itself. Otherwise nothing that a worker asks may be refused."""
    may_fail: bool = False
    """What is injected may cost a trajectory its reward: it is sealed `failed`, and counted apart."""
    hits_all: bool = False
    """The fault is in every rollout."""
    whole: bool = False
    """Nothing that is injected may cost a rollout a turn: each that is rewarded was played to its end."""
    drains: bool = False
    """A worker that is told to stop must be gone soon after its slowest Sample."""
    may_repeat: bool = False
    """A worker may die between an answer and its log. Else no Sample is made again."""

    @property
    def hurts_service(self) -> bool:
        """The faults are the stand-in's own."""
        return "--fault" in self.service

    def undisturbed(self, rollouts: int) -> float:
        """Seconds that the policy alone takes for so many."""
        return self.turns * self.sample_seconds * math.ceil(rollouts / self.in_flight)

    @property
    def lease(self) -> float:
        """As the queue worker derives it from the request timeout."""
        return 2 * self.sample_timeout + 30


def _all_rows() -> tuple[Row, ...]:
    kill = "kill -9 of a random worker, all through the run"
    return (
        Row(name="none", says="nothing is injected", whole=True),
        Row(
            name="sigterm",
            says="rolling restart of all workers, all through the run",
            inject=rolling_restart,
            drains=True,
            whole=True,
        ),
        Row(
            name="sigterm-fast",
            says="the same, with a policy that answers in 0.2 s (fewer rollouts at once: it is a busy one)",
            inject=rolling_restart,
            drains=True,
            whole=True,
            turns=50,
            sample_seconds=0.2,
            worker={"MTRL_SOP_MAX_TURNS": "60"},
            in_flight=32,
        ),
        Row(
            name="sigterm-slow",
            says="the same, with a policy that answers in 20 s",
            inject=rolling_restart,
            drains=True,
            whole=True,
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
            says="SIGSTOP of two workers for 135 s (two leases and more), then SIGCONT; three times",
            inject=pause_workers,
            completes=True,
            may_fail=True,
        ),
        Row(name="duplicates", says="12 % of the messages reach the queue twice", twice=0.12, whole=True),
        Row(
            name="forwarder-twice",
            says="the forwarder is invoked twice for 12 % of the rollouts",
            forwarder={"CHAOS_TWICE": "0.12"},
            whole=True,
        ),
        *(
            Row(
                name=f"retries-{ids}",
                says=f"12 % of the forwarder's successes are reported as errors; retries {ids} the id",
                forwarder={"CHAOS_SAYS_FAILED": "0.12"},
                service=("--retry-ids", ids),
                attempts=10,
                late_calls=ids == "renew",
                whole=ids == "reuse",
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
                whole=True,
            )
            for service, rate in {"sqs": 0.2, "dynamodb": 0.2}.items()
        ),
        # The workers call S3 for the logs of rollouts that are handed over, so there must be some.
        Row(
            name="s3-fails",
            says="20 % of the calls to s3 fail, while all workers are restarted",
            fails={"s3": 0.2},
            inject=rolling_restart,
            whole=True,
        ),
        *(
            Row(
                name=f"{service}-down",
                says=f"{service} refuses connections for 30 s, then works for 35 s, and again",
                relays=(service,),
                inject=aws_down(service, 30.0),
                whole=True,
            )
            for service in ("sqs", "dynamodb")
        ),
        Row(
            name="s3-down",
            says="s3 refuses connections for 30 s while all workers are restarted, works for 20 s, and again",
            relays=("s3",),
            inject=restarts_while_down("s3", 30.0),
            whole=True,  # a log that cannot be stored is waited for, inside the drain grace
        ),
        Row(
            name="credentials",
            says="credentials rotate every 10 s; tokens and signatures by the last ones are refused",
            rotates=10.0,
            relays=("sqs", "dynamodb", "s3"),
            inject=rotate_keys,
            whole=True,
        ),
        Row(
            name="token-rejected",
            says="in 20 % of the rollouts a later Sample, the seal or the reward is answered 403 once",
            rejects=0.2,
            whole=True,
        ),
        *(
            Row(
                name=name,
                says=f"in 25 % of the cases {what}",
                plugin=plugin,
                # What ignores its end, or holds a thread, holds its process until the drain grace is over.
                worker={"MTRL_TOOL_TIMEOUT_SECONDS": "3", "MTRL_DRAIN_SECONDS": "20"},
                whole=plugin != "raise",
            )
            for name, plugin, what in (
                ("tool-hangs", "hang", "a tool never returns: it waits, ignores its end, or holds a thread"),
                ("tool-raises", "raise", "a tool raises, exits, or is cancelled from within"),
                ("close-crashes", "close", "the episode raises, exits, or hangs when it is closed"),
            )
        ),
        Row(
            name="new-version",
            says="the next release replaces one worker after the other; then all the way back, and again",
            deploys="logs",
            turns=8,  # a release takes a while to roll out
            inject=roll_out,
            drains=True,
            whole=True,
        ),
        Row(
            name="new-prompt",
            says="the same with a release that asks with other words: nothing can be gone on with",
            deploys="prompt",
            turns=8,
            inject=roll_out,
            drains=True,
        ),
        Row(
            name="expired",
            says="no worker for 50 s behind a full queue (budget 60 s), then all for 20 s; three times",
            absent=True,
            inject=nobody_works(50.0, 20.0),
            # The service waits longer, so that what a worker says of an overdue rollout is still heard.
            # They take half of what is sent, so that some were never begun when they are gone again.
            worker={"MTRL_ROLLOUT_BUDGET_SECONDS": "60", "MTRL_MAX_CONCURRENCY": "16"},
            may_fail=True,
        ),
        Row(
            name="slow-policy",
            says="a Sample takes 130 s, longer than a message stays hidden without a heartbeat",
            turns=2,
            sample_seconds=130.0,
            sample_timeout=160.0,
            hits_all=True,
            whole=True,
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
