"""Whatever is sent to a route, the answer is JSON: a result, or a 4xx error in the service's form."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from rehearsal.policies.tiny import TinyPolicy

from .stand_in import ARN, SYSTEM, TOOL, ServedRuntime
from .test_job_runtime import raw

SAMPLES = ("/sample", "/sample-with-response-stream", "/v1/chat/completions")
REPORTS = ("/complete-rollout", "/update-reward")
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)


def mapping(**known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A plausible object; one in four has a member replaced by anything, or a member more or less."""
    whole = st.fixed_dictionaries(known)
    replaced = st.tuples(whole, st.sampled_from([*known, "other"]), values).map(
        lambda t: {**t[0], t[1]: t[2]}
    )
    return st.one_of(whole, whole, whole, replaced, st.fixed_dictionaries({}, optional=known))


function = mapping(
    name=st.just("look_up"),
    arguments=st.just("{}"),
    parameters=mapping(
        properties=st.dictionaries(st.text(max_size=5), mapping(enum=st.just([1])), max_size=2),
        required=st.lists(st.text(max_size=5), max_size=2),
    ),
)
message = mapping(
    role=st.sampled_from(["system", "user", "assistant", "tool"]),
    content=st.sampled_from([SYSTEM, "case_id: 1", '{"colour": "red"}', None]),
    tool_calls=st.lists(mapping(id=st.just("c1"), function=function), max_size=2),
    tool_call_id=st.just("c1"),
)
chat = mapping(
    messages=st.lists(message, min_size=1, max_size=3),
    tools=st.just([TOOL]) | st.lists(mapping(type=st.just("function"), function=function), max_size=2),
    temperature=st.floats(0, 2),
    top_p=st.floats(0, 1),
    max_tokens=st.integers(1, 50),
    stream=st.booleans(),
    stream_options=mapping(include_usage=st.booleans()),
)
report = mapping(
    JobArn=st.just(ARN),
    TrajectoryId=st.sampled_from(["t-1", "t-9"]),
    Status=st.sampled_from(["ready", "failed"]),
    Rewards=st.lists(st.floats(-1, 1) | st.integers(), min_size=1, max_size=3),
    ClientToken=st.text(max_size=3),
)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
FUZZ = settings(
    max_examples=120,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def served() -> Iterator[ServedRuntime]:
    server = ServedRuntime()
    yield server
    server.close()


def bodies(shape: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    made = st.one_of(shape, shape, shape, values).map(lambda value: json.dumps(value).encode())
    return st.one_of(made, made, made, st.binary(max_size=40))


def check(served: ServedRuntime, path: str, body: bytes, **headers: str) -> int:
    served.open(TinyPolicy())
    try:
        status, told, answered = raw(served, path, body, **headers)
    except json.JSONDecodeError:
        assert path in SAMPLES, "only a sample may answer with a stream"
        return 200
    assert status == 200 or (400 <= status < 500 and told["Message"] and answered["x-amzn-ErrorType"])
    return int(status)


@pytest.mark.parametrize("path", SAMPLES)
def test_samples(served: ServedRuntime, path: str) -> None:
    statuses: list[int] = []

    @FUZZ
    @given(body=bodies(chat))
    def fuzz(body: bytes) -> None:
        statuses.append(check(served, path, body, **{JOB_ARN_HEADER: ARN, TRAJECTORY_HEADER: "t-1"}))

    fuzz()
    assert {200, 400} <= set(statuses), "both sides of the line were tried"
    _still_alive(served)


@pytest.mark.parametrize("path", REPORTS)
def test_reports(served: ServedRuntime, path: str) -> None:
    statuses: list[int] = []

    @FUZZ
    @given(body=bodies(report))
    def fuzz(body: bytes) -> None:
        statuses.append(check(served, path, body))

    fuzz()
    assert {200 if path == "/complete-rollout" else 409, 400, 404} <= set(statuses)
    _still_alive(served)


@FUZZ
@given(path=st.sampled_from([*SAMPLES, *REPORTS]), arn=names, name=names, authorization=names)
def test_headers(served: ServedRuntime, path: str, arn: str, name: str, authorization: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": "x"}], "TrajectoryId": "t-1"}).encode()
    check(served, path, body, **{JOB_ARN_HEADER: arn, TRAJECTORY_HEADER: name})
    check(served, path, body, Authorization=authorization)
    check(served, path, body, Authorization=f"Bearer sagemaker-api-key-{authorization}")


def _still_alive(served: ServedRuntime) -> None:
    served.open(TinyPolicy())
    body = {"JobArn": ARN, "TrajectoryId": "t-1"}
    assert raw(served, "/complete-rollout", body)[0] == 200
