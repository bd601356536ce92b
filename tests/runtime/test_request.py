"""The rollout request in all of its spellings, and in none."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.contract import InferenceParams, RequestError, RolloutRequest, Task
from tests.runtime.kit import JOB, wire

ENDPOINT = "https://job-runtime.sagemaker.us-west-2.api.aws"
CAMEL = {
    "prompt": "p",
    "metadata": {"jobArn": JOB, "rolloutId": "r1", "endpoint": ENDPOINT, "region": "us-west-2"},
    "inferenceParams": {"temperature": 0.5, "topP": 0.9, "maxTokens": 256},
}
SNAKE = {
    "instance": {"prompt": "p"},
    "metadata": {"job_arn": JOB, "trajectory_id": "r1", "endpoint": ENDPOINT, "region": "us-west-2"},
    "inference_params": {"temperature": 0.5, "top_p": 0.9, "max_tokens": 256.0},
}
FULL = RolloutRequest("p", JOB, "r1", ENDPOINT, "us-west-2", InferenceParams(0.5, 0.9, 256))
BARE = RolloutRequest("p", JOB, "r1")


def with_id(name: str) -> dict[str, Any]:
    return {"prompt": "p", "metadata": {"jobArn": JOB, name: "r1"}}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (CAMEL, FULL),
        (SNAKE, FULL),
        ({"body": json.dumps(CAMEL)}, FULL),
        ({"body": json.dumps(SNAKE), "headers": {}}, FULL),
        (with_id("rolloutId"), BARE),
        (with_id("trajectoryId"), BARE),
        (with_id("trajectory_id"), BARE),
        (with_id("rollout_id"), BARE),
        (
            {"prompt": None, "instance": {"prompt": "p"}, "metadata": with_id("rolloutId")["metadata"]},
            BARE,
        ),
        (
            {
                "prompt": "p",
                "metadata": {
                    "jobArn": None,
                    "job_arn": JOB,
                    "rolloutId": "r1",
                    "endpoint": None,
                    "region": None,
                },
                "inferenceParams": None,
                "inference_params": {"temperature": None, "maxTokens": None},
                "received_at": None,
            },
            BARE,
        ),
    ],
)
def test_every_spelling_reads_the_same(payload: dict[str, Any], expected: RolloutRequest) -> None:
    assert RolloutRequest.from_wire(payload) == expected


def broken(path: str, value: object) -> dict[str, Any]:
    payload = json.loads(json.dumps(CAMEL))
    *parents, last = path.split(".")
    at = payload
    for parent in parents:
        at = at[parent]
    at[last] = value
    return dict(payload)


HUGE = 10**400


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        (None, "body"),
        ([], "body"),
        ("text", "body"),
        ({"body": "{not json"}, "body"),
        ({"body": "[" * 100_000}, "body"),
        ({"body": "[1]"}, "body"),
        ({"body": '{"prompt": "\\ud800"}'}, "body"),
        ({}, "metadata"),
        (broken("metadata", 3), "metadata"),
        (broken("prompt", None), "prompt"),
        (broken("prompt", 3), "prompt"),
        (broken("prompt", " \n"), "prompt"),
        (broken("prompt", "half \ud83d"), "prompt"),
        (broken("metadata.jobArn", None), "metadata.jobArn"),
        (broken("metadata.jobArn", 3), "metadata.jobArn"),
        (broken("metadata.jobArn", JOB + "\n"), "metadata.jobArn"),
        (broken("metadata.jobArn", JOB + "x" * 300), "metadata.jobArn"),
        (broken("metadata.jobArn", JOB + "-" * 300 + "x"), "metadata.jobArn"),
        (broken("metadata.jobArn", JOB.replace("job/", "model/")), "metadata.jobArn"),
        (broken("metadata.rolloutId", ""), "metadata.rolloutId"),
        (broken("metadata.rolloutId", "a b"), "metadata.rolloutId"),
        (broken("metadata.rolloutId", "a\r\nX-Evil: 1"), "metadata.rolloutId"),
        (broken("metadata.rolloutId", "a\n"), "metadata.rolloutId"),
        (broken("metadata.rolloutId", "é"), "metadata.rolloutId"),
        (broken("metadata.rolloutId", "x" * 257), "metadata.rolloutId"),
        (broken("metadata.rolloutId", 7), "metadata.rolloutId"),
        (broken("metadata.endpoint", {}), "metadata.endpoint"),
        (broken("metadata.region", 1), "metadata.region"),
        (broken("inferenceParams", "x"), "inferenceParams"),
        (broken("inferenceParams.temperature", float("nan")), "inferenceParams.temperature"),
        (broken("inferenceParams.temperature", 2.1), "inferenceParams.temperature"),
        (broken("inferenceParams.temperature", True), "inferenceParams.temperature"),
        (broken("inferenceParams.topP", "1"), "inferenceParams.topP"),
        (broken("inferenceParams.maxTokens", 0), "inferenceParams.maxTokens"),
        (broken("inferenceParams.maxTokens", 1.5), "inferenceParams.maxTokens"),
        (broken("inferenceParams.maxTokens", 1e300), "inferenceParams.maxTokens"),
        (broken("inferenceParams.maxTokens", HUGE), "inferenceParams.maxTokens"),
        (broken("received_at", float("inf")), "received_at"),
        (broken("received_at", HUGE), "received_at"),
        (broken("received_at", -1), "received_at"),
    ],
)
def test_a_wrong_field_is_named(payload: object, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        RolloutRequest.from_wire(payload)
    assert caught.value.field == field
    str(caught.value).encode()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
known_names = st.sampled_from(
    [
        "prompt",
        "metadata",
        "instance",
        "body",
        "inferenceParams",
        "jobArn",
        "rolloutId",
        "endpoint",
        "received_at",
    ]
)


@given(st.dictionaries(known_names, json_values | st.dictionaries(known_names, json_values)) | json_values)
def test_any_json_is_read_or_refused(payload: Any) -> None:
    try:
        RolloutRequest.from_wire(payload)
    except RequestError as error:
        assert error.field  # noqa: PT017 - it may also not raise


@given(st.text(st.characters(exclude_categories=["Cs"])) | json_values.map(json.dumps))
def test_any_prompt_is_a_task_or_refused(prompt: str) -> None:
    try:
        task = Task.from_prompt(prompt)
    except RequestError as error:
        assert error.field.startswith("prompt")  # noqa: PT017 - it may also not raise
    else:
        json.dumps(task.input, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("prompt", "field"),
    [
        ({"input": 3}, "prompt.input"),
        ({"input": None}, "prompt.input"),
        ({"input": {}, "id": 3}, "prompt.id"),
        ({"input": {}, "environment": []}, "prompt.environment"),
        ({"input": {"text": "\ud800"}}, "prompt"),
        ({"input": {}, "\ud800": 1}, "prompt"),
    ],
)
def test_a_wrong_task_names_its_key(prompt: object, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        Task.from_prompt(json.dumps(prompt))
    assert caught.value.field == field


def test_a_task_survives_its_own_prompt() -> None:
    task = Task("1", "sop", {"a": "ä😀"}, {"t": 1}, {"note": "x"})
    assert Task.from_prompt(task.to_prompt()) == task


@pytest.mark.parametrize("prompt", ["plain", "{half", '{"no_input": 1}', "[" * 5000, '{"a":' * 90_000])
def test_other_text_is_a_task_with_only_an_input(prompt: str) -> None:
    assert Task.from_prompt(prompt) == Task("", "", {"text": prompt})


def test_the_request_of_the_kit_is_a_request() -> None:
    assert Task.from_prompt(RolloutRequest.from_wire(wire()).prompt).target == "TARGET-7"
