"""Sealed targets: they open for their own task alone, and what was opened is written nowhere."""

import asyncio
import base64
import io
import json
import logging
import tempfile
from contextlib import redirect_stderr
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.contract import RequestError, RolloutRequest, Task
from adapters.runtime.archive import FileArchive
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime, answers, assistant, raises, tool_call
from adapters.runtime.log_store import MemoryLogStore
from adapters.runtime.seal_keys import KeyRing
from adapters.runtime.sealing import PADDING, OpeningEnvironment, is_sealed, open_target, opened, seal
from tests.runtime.kit import EVALUATION, JOB, adapter, wire

KEY, OTHER = bytes(range(32)), bytes(reversed(range(32)))
RING = KeyRing({"k1": KEY, "k2": OTHER})
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


def sealed(target: Any = "TARGET-7", **changes: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {"dataset": "set-1", "task_id": "t1", "kid": "k1", "key": KEY} | changes
    return seal(target, **arguments)


def with_field(name: str, value: Any) -> dict[str, Any]:
    target = sealed()
    target["sealed"][name] = value
    return target


def flipped(target: dict[str, Any], name: str, at: int) -> dict[str, Any]:
    changed = deepcopy(target)
    data = bytearray(base64.b64decode(changed["sealed"][name]))
    data[at % len(data)] ^= 1
    changed["sealed"][name] = base64.b64encode(data).decode()
    return changed


@settings(deadline=None)
@given(json_values, st.text())
def test_what_was_sealed_opens_again(target: Any, task_id: str) -> None:
    surrogates = json.dumps([target, task_id], ensure_ascii=False)
    if surrogates.encode(errors="replace") == surrogates.encode(errors="ignore"):
        assert open_target(sealed(target, task_id=task_id), task_id, RING) == target


def test_two_seals_of_one_target_have_nothing_in_common() -> None:
    one, two = sealed()["sealed"], sealed()["sealed"]
    assert (one["nonce"], one["data"]) != (two["nonce"], two["data"])
    assert len(base64.b64decode(one["nonce"])) == 12


def test_the_length_does_not_tell_the_label() -> None:
    lengths = {len(sealed({"decision": label})["sealed"]["data"]) for label in ("no", "approved", "x" * 90)}
    assert len(lengths) == 1
    assert len(base64.b64decode(sealed("x" * PADDING)["sealed"]["data"])) == 2 * PADDING + 16


@settings(deadline=None)
@given(st.sampled_from(["nonce", "data"]), st.integers(0, 10_000))
def test_a_changed_byte_is_refused(name: str, at: int) -> None:
    with pytest.raises(RequestError, match="does not open with key 'k1'"):
        open_target(flipped(sealed(), name, at), "t1", RING)


@pytest.mark.parametrize(
    ("target", "task_id"),
    [
        (sealed(), "t2"),
        (with_field("set", "set-2"), "t1"),
        (with_field("kid", "k2"), "t1"),
        (sealed(key=OTHER), "t1"),
    ],
    ids=["another task's", "another set", "another key's id", "another key"],
)
def test_a_seal_moved_elsewhere_is_refused(target: dict[str, Any], task_id: str) -> None:
    with pytest.raises(RequestError, match="does not open") as caught:
        open_target(target, task_id, RING)
    assert "TARGET-7" not in str(caught.value)
    assert target["sealed"]["data"] not in str(caught.value)


def test_the_key_id_is_bound_too() -> None:
    with pytest.raises(RequestError, match="does not open"):
        open_target(with_field("kid", "k3"), "t1", KeyRing({"k1": KEY, "k3": KEY}))


def test_names_cannot_be_shifted_between_the_fields() -> None:
    target = sealed(dataset="a", task_id="b,c")
    target["sealed"]["set"] = "a,b"
    with pytest.raises(RequestError, match="does not open"):
        open_target(target, "c", RING)


@pytest.mark.parametrize(
    ("target", "keys", "message"),
    [
        (sealed(kid="k9"), RING, "prompt.target.sealed: needs key 'k9', which is not in the key ring"),
        (sealed(), KeyRing(), "needs key 'k1', and there are no keys here (MTRL_SEAL_KEYS)"),
        (with_field("v", 2), RING, "must be of v 1 and alg A256GCM"),
        (with_field("alg", "A128GCM"), RING, "must be of v 1 and alg A256GCM"),
        (with_field("kid", "k\n1"), RING, "sealed.kid: is no key id"),
        (with_field("kid", None), RING, "sealed.kid: is no key id"),
        (with_field("set", 3), RING, "sealed.set: must be a string"),
        (with_field("nonce", "AAAA"), RING, "sealed.nonce: must be 12 bytes"),
        (with_field("nonce", "?"), RING, "sealed.nonce: is no base64"),
        (with_field("data", 7), RING, "sealed.data: is no base64"),
        (with_field("data", ""), RING, "does not open"),
        (with_field("more", 1), RING, "and nothing else"),
        ({"sealed": {}}, RING, "sealed.v: is missing"),
    ],
)
def test_what_cannot_be_opened_is_named(target: dict[str, Any], keys: KeyRing, message: str) -> None:
    with pytest.raises(RequestError) as caught:
        open_target(target, "t1", keys)
    assert message in str(caught.value)


@pytest.mark.parametrize("target", [None, "x", {"sealed": "x"}, {"sealed": {}, "more": 1}, ["sealed"]])
def test_an_ordinary_target_stays_what_it_is(target: Any) -> None:
    task = Task("t1", "fake", {"text": "x"}, target)
    assert not is_sealed(target)
    assert opened(task, KeyRing()) is task


class Refusing(FakeEnvironment):
    """Refuses every task, with words that quote the target."""

    def open(self, task: Task) -> Any:
        raise RequestError(f"prompt.target.{task.target}", f"must not be {task.target}")


async def test_an_environments_refusal_of_a_sealed_task_keeps_its_words_back() -> None:
    task = Task("t1", "fake", {"text": "x"}, sealed())
    with pytest.raises(RequestError) as caught:
        async with OpeningEnvironment(Refusing(), RING).open(task):
            pass
    assert caught.value.field == "prompt.target"
    assert "TARGET-7" not in str(caught.value)
    assert caught.value.__context__ is None
    with pytest.raises(RequestError, match="TARGET-7"):
        OpeningEnvironment(Refusing(), RING).open(replace(task, target="TARGET-7"))


def request_of(target: Any, rollout_id: str = "r1", job: str = JOB) -> RolloutRequest:
    prompt = Task("t1", "fake", {"text": "hello"}, target).to_prompt()
    return RolloutRequest.from_wire(wire(rollout_id, job=job) | {"prompt": prompt})


async def test_the_environment_gets_the_open_target(service: FakeJobRuntime) -> None:
    fake = FakeEnvironment()
    async with adapter(service, OpeningEnvironment(fake, RING)) as own:
        outcome = await own.rollouts.run(request_of(sealed()))
    assert outcome.sealed == "ready"
    assert [episode.task.target for episode in fake.episodes] == ["TARGET-7"]
    assert fake.closed == 1


async def test_an_unknown_key_is_a_malformed_task_and_nothing_is_sampled(service: FakeJobRuntime) -> None:
    fake = FakeEnvironment()
    async with adapter(service, OpeningEnvironment(fake, RING)) as own:
        with pytest.raises(RequestError, match="needs key 'k9'"):
            await own.rollouts.run(request_of(sealed(kid="k9")))
    assert not fake.episodes
    assert not service.seen


def environments(words: str) -> list[FakeEnvironment]:
    """One that is well, and one for each place where an environment can quote the target."""
    error = RuntimeError(words)

    async def breaks() -> None:
        raise error

    async def refuses() -> None:
        raise RequestError("prompt.input", words)

    return [
        FakeEnvironment(replay="reexecute"),
        FakeEnvironment(reward=1.0, score=0.0),
        FakeEnvironment(reward=error, score=error),
        FakeEnvironment(tools={"look": raises(error)}),
        FakeEnvironment(tools={"look": raises(SystemExit(words))}),
        FakeEnvironment(opening=breaks),
        FakeEnvironment(closing=breaks),
        FakeEnvironment(opening=refuses),
        FakeEnvironment(tools={"look": answers("42")}, replies=["and?"]),
    ]


async def everything_written(target: Any, folder: Path) -> str:
    """Plays sealed rollouts in every environment; all that the adapter wrote, stored or sent."""
    written: list[str] = []
    words = json.dumps(target, ensure_ascii=False)
    errors, handler = io.StringIO(), logging.StreamHandler(io.StringIO())
    logging.getLogger().addHandler(handler)
    asyncio.get_running_loop().set_debug(False)
    async with FakeJobRuntime() as service:
        service.policy = lambda seen: (
            assistant("done")
            if seen.body["messages"][-1]["role"] == "tool"
            else assistant("x", tool_call("look"))
        )
        for number, environment in enumerate(environments(words)):
            logs, archive = MemoryLogStore(), FileArchive(folder / str(number))
            opening = OpeningEnvironment(environment, RING)
            request = request_of(sealed(target), f"r{number}", job=EVALUATION if number % 2 else JOB)
            chosen: dict[str, Any] = {"log_level": "DEBUG", "on_crash": "resume", "sample_timeout": 10.0}
            with redirect_stderr(errors):
                async with adapter(service, opening, logs=logs, archive=archive, **chosen) as own:
                    try:
                        outcome = await own.rollouts.run(request)
                        written.append(json.dumps(outcome.to_wire()))
                    except RequestError as error:
                        written.append(str(error))
                    written.append(own.stream.getvalue())
            written += [data.decode() for data in logs.stored.values()]
            written += [path.read_text() for path in (folder / str(number)).glob("*")]
        written += [seen.raw.decode() for seen in service.seen]
    logging.getLogger().removeHandler(handler)
    written += [errors.getvalue(), handler.stream.getvalue()]
    assert len(written) > 30
    return "\n".join(written)


# Marked, so that no such text can be there by chance.
secrets = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(lambda text: f"§{text}§geheim")


@settings(max_examples=6, deadline=None)
@given(st.dictionaries(secrets, secrets | st.integers(10**12, 10**15), min_size=1, max_size=3))
def test_no_byte_of_a_target_is_written(target: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = asyncio.run(everything_written(target, Path(folder)))
    for leaf in {*target, *target.values()}:
        plain = str(leaf)
        for form in (plain, json.dumps(leaf), json.dumps(leaf)[1:-1], repr(leaf)):
            assert form not in written
    assert "geheim" not in written
    assert base64.b64encode(json.dumps(target).encode()).decode()[:24] not in written
