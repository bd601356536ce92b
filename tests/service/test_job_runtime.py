"""The Job Runtime through boto3: what each operation does, and what each refusal is."""

import http.client
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from rehearsal.policies.base import PolicyError
from rehearsal.service.faults import FAULT_HEADER
from rehearsal.service.state import trajectories as state

from .stand_in import ARN, SIGNED, ServedRuntime, Turns, aws

CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}],
}
ANSWER = {"role": "assistant", "content": "done", "reasoning_content": "because"}
USER = {"role": "user", "content": "go"}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "4"}


@pytest.fixture
def served() -> Iterator[ServedRuntime]:
    server = ServedRuntime()
    yield server
    server.close()


@pytest.fixture
def runtime(served: ServedRuntime) -> Any:
    return aws("sagemakerjobruntime", served.url)


def sample(runtime: Any, *messages: Any, name: str = "t-1", **more: Any) -> dict[str, Any]:
    body = json.dumps({"messages": messages or [USER], **more})
    told = runtime.sample(JobArn=ARN, TrajectoryId=name, Body=body)
    assert told["ContentType"] == "application/json"
    answer = told["Body"]
    parsed: dict[str, Any] = json.loads(answer if isinstance(answer, bytes) else answer.read())
    return parsed


def raw(served: ServedRuntime, path: str, body: object, **headers: str) -> tuple[int, Any, Any]:
    """A request of the test's own making: status, parsed body, headers."""
    connection = http.client.HTTPConnection("127.0.0.1", served.port, timeout=20)
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {"Authorization": SIGNED, **{name.replace("_", "-"): value for name, value in headers.items()}}
    try:
        connection.request("POST", path, content, given)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read()), answer.headers
    finally:
        connection.close()


def refused(runtime: Any, error: str, call: Callable[..., Any], **arguments: Any) -> str:
    """The message of a call that raises the client's own exception class `error`."""
    with pytest.raises(getattr(runtime.exceptions, error)) as caught:
        call(JobArn=ARN, **arguments)
    message: str = caught.value.response["Error"]["Message"]
    return message


def test_a_rollout_from_the_first_sample_to_the_reward(served: ServedRuntime, runtime: Any) -> None:
    policy = Turns(CALL, ANSWER)
    trajectory = served.open(policy)
    settled: list[int] = []
    trajectory.settled = lambda: settled.append(1)
    first = sample(runtime, USER, model="m-1", temperature=0.5)
    assert first["object"] == "chat.completion"
    assert first["model"] == "m-1"
    assert first["choices"] == [{"index": 0, "message": CALL, "finish_reason": "tool_calls"}]
    assert first["usage"] == {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12}
    second = sample(runtime, USER, CALL, RESULT)
    assert second["choices"][0]["message"] == ANSWER
    assert second["choices"][0]["finish_reason"] == "stop"
    assert second["model"] == "default"
    assert policy.asked[0]["temperature"] == 0.5
    assert len(set(policy.seeds)) == 2
    assert [turn.message for turn in trajectory.turns] == [CALL, ANSWER]

    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1", Status="ready")
    assert not settled
    runtime.update_reward(JobArn=ARN, TrajectoryId="t-1", Rewards=[0.5])
    assert settled == [1]
    assert (trajectory.state, trajectory.rewards) == ("ready", (0.5,))
    assert served.counts == {"samples": 2, "sealed_ready": 1, "rewards": 1}


def test_a_seal_is_ready_unless_it_says_otherwise(served: ServedRuntime, runtime: Any) -> None:
    trajectory = served.open(Turns(ANSWER))
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1")
    assert trajectory.state == "ready"


def test_one_reward_or_one_a_turn(served: ServedRuntime, runtime: Any) -> None:
    trajectory = served.open(Turns(CALL, ANSWER))
    sample(runtime, USER)
    sample(runtime, USER, CALL, RESULT)
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1")
    for wrong in ([], [1.0, 2.0, 3.0]):
        refused(runtime, "ValidationException", runtime.update_reward, TrajectoryId="t-1", Rewards=wrong)
    assert served.counts["reward_misshapen"] == 1
    runtime.update_reward(JobArn=ARN, TrajectoryId="t-1", Rewards=[0.25, 1.0])
    assert trajectory.rewards == (0.25, 1.0)


def test_what_is_unknown_is_not_found(served: ServedRuntime, runtime: Any) -> None:
    for call, more in (
        (runtime.sample, {"Body": json.dumps({"messages": [USER]})}),
        (runtime.sample_with_response_stream, {"Body": json.dumps({"messages": [USER]})}),
        (runtime.complete_rollout, {}),
        (runtime.update_reward, {"Rewards": [1.0]}),
    ):
        assert "t-9" in refused(runtime, "ResourceNotFoundException", call, TrajectoryId="t-9", **more)
    assert served.counts == {"unknown_trajectory": 4}


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("{", "Body"),
        ("[]", "Body"),
        ("{}", "messages"),
        ('{"messages": []}', "Body.messages"),
        ('{"messages": [{"content": "x"}]}', "Body.messages[0]"),
        ('{"messages": [{"role": "user", "content": 5}]}', "Body.messages[0].content"),
        ('{"messages": [{"role": "user"}], "temperature": "hot"}', "Body.temperature"),
        ('{"messages": [{"role": "user"}], "temperature": NaN}', "Body"),
        ('{"messages": [{"role": "user"}], "top_p": 1.5}', "Body.top_p"),
        ('{"messages": [{"role": "user"}], "max_tokens": 0}', "Body.max_tokens"),
        ('{"messages": [{"role": "user"}], "n": 2}', "Body.n"),
        ('{"messages": [{"role": "user"}], "tools": [{"function": {}}]}', "Body.tools[0].function"),
        ('{"messages": [{"role": "user", "x": ' + "[" * 200 + "]" * 200 + "}]}", "Body"),
    ],
)
def test_a_malformed_sample_names_the_member(
    served: ServedRuntime, runtime: Any, body: str, names: str
) -> None:
    served.open(Turns(ANSWER))
    told = refused(runtime, "ValidationException", runtime.sample, TrajectoryId="t-1", Body=body)
    assert names in told
    assert served.counts == {}


def test_a_policy_that_cannot_answer(served: ServedRuntime, runtime: Any) -> None:
    class Broken(Turns):
        error: Exception = PolicyError("the model is away")

        async def sample(self, request: Any, seed: int) -> Any:
            raise self.error

    served.open(Broken(ANSWER))
    arguments = {"TrajectoryId": "t-1", "Body": json.dumps({"messages": [USER]})}
    assert "away" in refused(runtime, "InternalServiceError", runtime.sample, **arguments)
    for status, error in ((400, "ValidationException"), (429, "ThrottlingException")):
        Broken.error = PolicyError("refused", status=status)
        refused(runtime, error, runtime.sample, **arguments)
    Broken.error = RuntimeError("a defect")
    told = refused(runtime, "InternalServiceError", runtime.sample, **arguments)
    assert "a defect of the stand-in" in told.lower()
    assert served.counts == {}


def test_a_sealed_trajectory_takes_no_sample_and_no_other_seal(served: ServedRuntime, runtime: Any) -> None:
    served.open(Turns(ANSWER))
    sample(runtime)
    early = refused(runtime, "ConflictException", runtime.update_reward, TrajectoryId="t-1", Rewards=[1.0])
    assert "not in valid status" in early
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1", Status="ready")
    body = json.dumps({"messages": [USER, ANSWER, USER]})
    late = refused(runtime, "ValidationException", runtime.sample, TrajectoryId="t-1", Body=body)
    assert "not in valid status" in late
    for status in ("ready", "failed"):
        told = refused(
            runtime, "ConflictException", runtime.complete_rollout, TrajectoryId="t-1", Status=status
        )
        assert "Cannot transition trajectory" in told
        assert "not in valid status" in told
    runtime.update_reward(JobArn=ARN, TrajectoryId="t-1", Rewards=[1.0])
    again = refused(runtime, "ConflictException", runtime.update_reward, TrajectoryId="t-1", Rewards=[1.0])
    assert "not in valid status" in again
    assert served.counts == {
        "samples": 1,
        "reward_before_seal": 1,
        "sealed_ready": 1,
        "sample_after_seal": 1,
        "seal_refused": 2,
        "rewards": 1,
        "reward_refused": 1,
    }


def test_a_sample_in_flight_when_the_trajectory_is_sealed_is_not_recorded(served: ServedRuntime) -> None:
    class Sealing(Turns):
        async def sample(self, request: Any, seed: int) -> Any:
            served.trajectories.seal(ARN, "t-1", "ready", "")
            return await super().sample(request, seed)

    trajectory = served.open(Sealing(ANSWER))
    headers = {JOB_ARN_HEADER.replace("-", "_"): ARN, TRAJECTORY_HEADER.replace("-", "_"): "t-1"}
    status, told, _ = raw(served, "/sample", {"messages": [USER]}, **headers)
    assert (status, trajectory.turns) == (400, [])
    assert "not in valid status" in told["Message"]
    assert served.counts == {"sealed_ready": 1, "sample_after_seal": 1}


def test_a_reward_follows_a_failed_seal_too(served: ServedRuntime, runtime: Any) -> None:
    """The public SDK's `report_error` seals as failed, then sends a reward."""
    trajectory = served.open(Turns(ANSWER))
    settled: list[int] = []
    trajectory.settled = lambda: settled.append(1)
    sample(runtime)
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1", Status="failed")
    assert settled == [1]
    runtime.update_reward(JobArn=ARN, TrajectoryId="t-1", Rewards=[0.0])
    assert served.counts == {"samples": 1, "sealed_failed": 1, "rewards": 1}


def test_a_repeat_is_known_by_its_client_token(served: ServedRuntime, runtime: Any) -> None:
    served.open(Turns(ANSWER))
    sample(runtime)
    seal = {"JobArn": ARN, "TrajectoryId": "t-1", "Status": "ready", "ClientToken": "one"}
    reward = {"JobArn": ARN, "TrajectoryId": "t-1", "Rewards": [0.5], "ClientToken": "two"}
    for _ in range(2):
        runtime.complete_rollout(**seal)
    with pytest.raises(runtime.exceptions.ConflictException):
        runtime.complete_rollout(**{**seal, "Status": "failed"})
    with pytest.raises(runtime.exceptions.ConflictException):
        runtime.complete_rollout(**{**seal, "ClientToken": "other"})
    for _ in range(2):
        runtime.update_reward(**reward)
    for other in ({"ClientToken": "other"}, {"Rewards": [0.75]}):
        with pytest.raises(runtime.exceptions.ConflictException):
            runtime.update_reward(**{**reward, **other})
    assert served.counts == {
        "samples": 1,
        "sealed_ready": 1,
        "seal_repeated": 1,
        "seal_refused": 2,
        "rewards": 1,
        "reward_repeated": 1,
        "reward_refused": 2,
    }


def test_a_repeat_after_the_step_still_meets_its_token(served: ServedRuntime, runtime: Any) -> None:
    """The answer to the last reward of a step was lost: the step is over when the agent repeats it."""
    trajectory = served.open(Turns(ANSWER))
    sample(runtime)
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1", ClientToken="one")
    reward = {"JobArn": ARN, "TrajectoryId": "t-1", "Rewards": [0.5], "ClientToken": "two"}
    runtime.update_reward(**reward)
    served.trajectories.forget(trajectory)
    assert (trajectory.turns, trajectory.policy) == ([], None)
    runtime.update_reward(**reward)
    runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1", ClientToken="one")
    body = json.dumps({"messages": [USER]})
    refused(runtime, "ValidationException", runtime.sample, TrajectoryId="t-1", Body=body)


def test_what_a_job_leaves_open_is_closed_at_its_end(served: ServedRuntime, runtime: Any) -> None:
    served.open(Turns(ANSWER))
    other = served.trajectories.open(ARN + "-2", "t-1", 1, Turns(ANSWER))
    sample(runtime)
    served.trajectories.end_job(ARN)
    body = json.dumps({"messages": [USER, ANSWER, USER]})
    refused(runtime, "ValidationException", runtime.sample, TrajectoryId="t-1", Body=body)
    told = refused(runtime, "ConflictException", runtime.complete_rollout, TrajectoryId="t-1")
    assert "Cannot transition trajectory t-1 from closed" in told
    refused(runtime, "ConflictException", runtime.update_reward, TrajectoryId="t-1", Rewards=[1.0])
    assert (other.state, served.counts["reward_refused"]) == ("open", 1)


def test_only_so_many_past_trajectories_are_kept(
    served: ServedRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "MAX_PAST", 2)
    for name in ("a", "b", "c", "d"):
        served.trajectories.forget(served.open(Turns(ANSWER), name))
        if name == "a":  # an id that came back must outlive its predecessor
            again = served.open(Turns(ANSWER), name)
    assert served.trajectories.get(ARN, "a") is again
    with pytest.raises(state.TrajectoryError):
        served.trajectories.get(ARN, "b")
    assert served.trajectories.get(ARN, "c").state == "closed"


REWRITTEN = {"role": "user", "content": "something else"}
EDITED = {**ANSWER, "content": "improved"}


@pytest.mark.parametrize(
    ("second", "counted"),
    [
        ([USER, ANSWER, USER], None),
        ([USER], None),
        ([REWRITTEN, ANSWER, USER], "sample_not_extending"),
        ([USER, EDITED, USER], "answer_not_verbatim"),
        ([USER, {"role": "assistant", "content": "done"}, USER], "answer_not_verbatim"),
        ([USER, USER], "answer_not_verbatim"),
    ],
    ids=["extends", "the same again", "rewritten", "edited", "reasoning dropped", "answer left out"],
)
def test_a_rewritten_history_is_counted(
    served: ServedRuntime, runtime: Any, second: list[Any], counted: str | None
) -> None:
    served.open(Turns(ANSWER))
    sample(runtime, USER)
    sample(runtime, *second)
    expected = {"samples": 2} | ({counted: 1} if counted else {})
    assert served.counts == expected


def test_a_shorter_history_is_counted(served: ServedRuntime, runtime: Any) -> None:
    served.open(Turns(ANSWER))
    sample(runtime, USER, USER)
    sample(runtime, USER)
    assert served.counts == {"samples": 2, "sample_not_extending": 1}


def test_after_an_uncertain_turn_any_answer_is_verbatim(served: ServedRuntime, runtime: Any) -> None:
    served.open(Turns(CALL, ANSWER, ANSWER))
    sample(runtime, USER)
    sample(runtime, USER)
    sample(runtime, USER, CALL, RESULT)
    assert served.counts == {"samples": 3}


def test_the_job_is_named_by_header_or_in_the_body(served: ServedRuntime) -> None:
    served.open(Turns(ANSWER))
    status, told, _ = raw(served, "/complete-rollout", {"TrajectoryId": "t-1"})
    assert (status, told["Message"][:24]) == (400, JOB_ARN_HEADER)
    named = {"TrajectoryId": "t-1", "JobArn": ARN}
    assert raw(served, "/complete-rollout", {**named, "Status": "ready"})[0] == 200
    assert raw(served, "/update-reward", {**named, "Rewards": [1]})[0] == 200
    assert served.counts == {"sealed_ready": 1, "rewards": 1}
    status, told, headers = raw(served, "/update-reward", {**named, "Rewards": [1]})
    assert (status, headers["x-amzn-ErrorType"]) == (409, "ConflictException")
    assert told["Message"] == told["message"]


@pytest.mark.parametrize(
    ("path", "body", "names"),
    [
        ("/complete-rollout", b"{", "Body"),
        ("/complete-rollout", [], "Body"),
        ("/complete-rollout", {"Status": "done"}, "Status"),
        ("/complete-rollout", {"TrajectoryId": ""}, "TrajectoryId"),
        ("/complete-rollout", {"TrajectoryId": "x" * 257}, "TrajectoryId"),
        ("/complete-rollout", {"TrajectoryId": "t-1", "ClientToken": 5}, "ClientToken"),
        ("/complete-rollout", {"TrajectoryId": "t-1", "JobArn": "arn:x"}, JOB_ARN_HEADER),
        ("/update-reward", {"TrajectoryId": "t-1"}, "Rewards"),
        ("/update-reward", {"TrajectoryId": "t-1", "Rewards": 1.0}, "Rewards"),
        ("/update-reward", {"TrajectoryId": "t-1", "Rewards": [True]}, "Rewards"),
        ("/update-reward", {"TrajectoryId": "t-1", "Rewards": ["1"]}, "Rewards"),
        ("/update-reward", b'{"TrajectoryId": "t-1", "Rewards": [NaN]}', "Body"),
    ],
)
def test_a_malformed_report_names_the_member(served: ServedRuntime, path: str, body: Any, names: str) -> None:
    served.open(Turns(ANSWER))
    if isinstance(body, dict):
        body = {"JobArn": ARN, **body}
    status, told, headers = raw(served, path, body)
    assert (status, headers["x-amzn-ErrorType"]) == (400, "ValidationException")
    assert told["Message"].startswith(names)
    assert served.counts == {}


@pytest.mark.parametrize("name", ["", "x" * 257])
def test_a_sample_needs_its_two_headers(served: ServedRuntime, name: str) -> None:
    headers = {JOB_ARN_HEADER.replace("-", "_"): ARN}
    if name:
        headers[TRAJECTORY_HEADER.replace("-", "_")] = name
    status, told, _ = raw(served, "/sample", {"messages": [USER]}, **headers)
    assert (status, TRAJECTORY_HEADER in told["Message"]) == (400, True)
    status, told, _ = raw(served, "/sample", {"messages": [USER]}, X_Amzn_SageMaker_Trajectory_Id="t")
    assert (status, JOB_ARN_HEADER in told["Message"]) == (400, True)


def test_a_body_beyond_the_limit_or_badly_encoded_is_refused_in_json(served: ServedRuntime) -> None:
    for body, headers in ((b"x" * 2_000_000, {}), (b"no gzip", {"Content_Encoding": "gzip"})):
        status, told, answered = raw(served, "/complete-rollout", body, **headers)
        assert (status, answered["x-amzn-ErrorType"]) == (400, "ValidationException")
        assert "Body" in told["Message"]


def test_throttling_is_botos_own_exception(served: ServedRuntime) -> None:
    served.open(Turns(ANSWER))
    runtime = aws("sagemakerjobruntime", served.url)
    runtime.meta.events.register("before-send", lambda request, **_: _fault(request, "429"))
    with pytest.raises(runtime.exceptions.ThrottlingException):
        runtime.complete_rollout(JobArn=ARN, TrajectoryId="t-1")
    assert issubclass(runtime.exceptions.ThrottlingException, ClientError)


def _fault(request: Any, kind: str) -> None:
    request.headers[FAULT_HEADER] = kind
