"""Faults: each kind by header and by rate, what it leaves behind, and that a seed repeats it."""

import asyncio
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError, HTTPClientError

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from rehearsal.service.faults import FAULT_HEADER, KINDS, OPERATIONS, FaultError, Faults

from .stand_in import ARN, ServedRuntime, Turns, aws
from .test_job_runtime import ANSWER, USER, raw

SAMPLE = {"JobArn": ARN, "TrajectoryId": "t-1", "Body": json.dumps({"messages": [USER]})}
SEAL = {"JobArn": ARN, "TrajectoryId": "t-1"}


@pytest.fixture
def served() -> Iterator[ServedRuntime]:
    server = ServedRuntime(Faults(slow_seconds=0.0, retry_after=1.5))
    yield server
    server.close()


def faulty(served: ServedRuntime, kind: str) -> Any:
    """A client all of whose requests ask for a fault."""
    client = aws("sagemakerjobruntime", served.url)

    def add(request: Any, **_: Any) -> None:
        request.headers[FAULT_HEADER] = kind

    client.meta.events.register("before-send", add)
    return client


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("429", "ThrottlingException"),
        ("5xx", "InternalServiceError"),
        ("expire", "AccessDeniedException"),
    ],
)
def test_a_refusing_fault_changes_nothing(served: ServedRuntime, kind: str, error: str) -> None:
    trajectory = served.open(Turns(ANSWER))
    client = faulty(served, kind)
    with pytest.raises(getattr(client.exceptions, error)) as caught:
        client.sample(**SAMPLE)
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert headers.get("retry-after") == ("1.5" if kind == "429" else None)
    with pytest.raises(getattr(client.exceptions, error)):
        client.complete_rollout(**SEAL)
    assert (trajectory.turns, trajectory.state) == ([], "open")
    uncertain = {"uncertain_injected": 1} if kind == "5xx" else {}
    assert served.counts == {f"fault_sample_{kind}": 1, f"fault_complete_{kind}": 1, **uncertain}


def test_a_reset_comes_before_anything_happened(served: ServedRuntime) -> None:
    trajectory = served.open(Turns(ANSWER))
    client = faulty(served, "reset")
    for call, arguments in ((client.sample, SAMPLE), (client.complete_rollout, SEAL)):
        with pytest.raises((HTTPClientError, ConnectionClosedError)):
            call(**arguments)
    assert (trajectory.turns, trajectory.state) == ([], "open")
    assert served.counts == {"fault_sample_reset": 1, "uncertain_injected": 1, "fault_complete_reset": 1}


def test_a_lost_answer_has_taken_effect(served: ServedRuntime) -> None:
    trajectory = served.open(Turns(ANSWER))
    client = faulty(served, "lost")
    for call, arguments in (
        (client.sample, SAMPLE),
        (client.sample_with_response_stream, SAMPLE),
        (client.complete_rollout, SEAL),
        (client.update_reward, {**SEAL, "Rewards": [0.5]}),
    ):
        with pytest.raises((HTTPClientError, ConnectionClosedError)):
            call(**arguments)
    assert len(trajectory.turns) == 2
    assert (trajectory.state, trajectory.rewards) == ("ready", (0.5,))
    assert served.counts == {
        "samples": 2,
        "fault_sample_lost": 2,
        "uncertain_injected": 2,
        "sealed_ready": 1,
        "fault_complete_lost": 1,
        "rewards": 1,
        "fault_reward_lost": 1,
    }


def test_a_refusal_cannot_be_lost(served: ServedRuntime) -> None:
    client = faulty(served, "lost")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.complete_rollout(**SEAL)
    assert served.counts == {"unknown_trajectory": 1}


def test_a_slow_answer_is_held_back(served: ServedRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer comes after the pause, and only then has anything happened."""
    trajectory = served.open(Turns(ANSWER))
    reached, go = threading.Event(), threading.Event()

    async def pause(seconds: float) -> None:
        assert seconds == served.faults.slow_seconds
        reached.set()
        await served.loop.run_in_executor(None, go.wait, 20)

    monkeypatch.setattr(asyncio, "sleep", pause)
    client = faulty(served, "slow")
    thread = threading.Thread(target=client.sample, kwargs=SAMPLE)
    thread.start()
    assert reached.wait(20)
    assert trajectory.turns == []
    go.set()
    thread.join(20)
    assert served.counts == {"samples": 1, "fault_sample_slow": 1}


def test_a_fault_is_counted_for_a_job_named_in_the_body(served: ServedRuntime) -> None:
    """The public SDK sends the job's ARN in the body only."""
    served.open(Turns(ANSWER))
    raw(served, "/complete-rollout", {"JobArn": ARN, "TrajectoryId": "t-1"}, **{FAULT_HEADER: "5xx"})
    assert served.counts == {"fault_complete_5xx": 1}


def test_an_unknown_fault_is_refused(served: ServedRuntime) -> None:
    served.open(Turns(ANSWER))
    status, told, _ = raw(served, "/complete-rollout", {}, **{FAULT_HEADER: "500"})
    assert (status, told["Message"][: len(FAULT_HEADER)]) == (400, FAULT_HEADER)
    assert "429, 5xx, reset, lost, slow, expire" in told["Message"]


def test_a_seed_repeats_the_faults() -> None:
    def draws(seed: int) -> list[str | None]:
        faults = Faults(seed=seed)
        for text in ("429=0.2", "sample:lost=0.3", "reward:slow=0.5"):
            faults.add(text)
        return [faults.draw(OPERATIONS[n % 3], None) for n in range(300)]

    first = draws(7)
    assert first == draws(7)
    assert first != draws(8)
    shares = {kind: first[0::3].count(kind) for kind in ("429", "lost", None)}
    assert 10 <= shares["429"] <= 32
    assert 18 <= shares["lost"] <= 45
    assert first[1::3].count("429") == 100 - first[1::3].count(None)
    assert "slow" not in first[0::3]


def test_rates_reach_the_wire() -> None:
    faults = Faults()
    faults.add("complete:429=1")
    served = ServedRuntime(faults)
    try:
        served.open(Turns(ANSWER))
        client = aws("sagemakerjobruntime", served.url)
        with pytest.raises(client.exceptions.ThrottlingException):
            client.complete_rollout(**SEAL)
        client.sample(**SAMPLE)
        assert served.counts == {"fault_complete_429": 1, "samples": 1}
        headers = {JOB_ARN_HEADER: ARN, TRAJECTORY_HEADER: "t-1", FAULT_HEADER: "5xx"}
        assert raw(served, "/complete-rollout", SEAL, **headers)[0] == 500, "the header wins"
    finally:
        served.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("500=0.1", "Unknown fault '500'"),
        ("sampling:429=0.1", "Unknown operation 'sampling'"),
        ("429", "must be a number from 0 to 1"),
        ("429=often", "must be a number from 0 to 1"),
        ("429=nan", "must be a number from 0 to 1"),
        ("429=1.1", "must be a number from 0 to 1"),
        ("429=-0.1", "must be a number from 0 to 1"),
        ("=0.5", "Unknown fault ''"),
        ("sample:lost=0.6", "add up to more than 1"),
    ],
)
def test_a_rate_that_cannot_be_read(text: str, says: str) -> None:
    faults = Faults()
    faults.add("5xx=0.5")
    with pytest.raises(FaultError, match=says):
        faults.add(text)


def test_a_rate_without_an_operation_is_for_all() -> None:
    faults = Faults()
    for kind in KINDS:
        faults.add(f"{kind}=0.1")
    assert len(faults.rates) == len(KINDS) * len(OPERATIONS)
