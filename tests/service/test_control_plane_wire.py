"""Requests that no client of AWS would send, and the form of every answer."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rehearsal.service import schema
from rehearsal.service.wire.control_plane import MAX_BODY_BYTES

from .test_control_plane import EVALUATION, ROLE, TRAINING, Served, post


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.close()


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server for the whole file, so that a request that broke it is seen by the next."""
    server = Served(tmp_path_factory.mktemp("lasting"))
    yield server
    server.close()


PARAMETERS: list[tuple[dict[str, Any], str]] = [
    ({"JobName": "-x"}, "JobName: '-x' does not match"),
    ({"JobName": "x" * 64}, "JobName: the length: 64 is more than the maximum 63"),
    ({"JobName": 5}, "Invalid type for parameter JobName"),
    ({"JobName": ""}, "Invalid length for parameter JobName"),
    ({"RoleArn": "arn:aws:iam::1:role/x-and-more"}, "RoleArn: "),
    ({"JobCategory": "Nope"}, "JobCategory: 'Nope' is not one of AgentRFT"),
    ({"JobCategory": "SyntheticDataGeneration"}, "serves AgentRFT and AgentRFTEvaluation"),
    ({"JobConfigSchemaVersion": "2.0.0"}, "JobConfigSchemaVersion: the versions are 1.0.0"),
    ({"JobConfigSchemaVersion": "1.0.0\n"}, "JobConfigSchemaVersion: '1.0.0\\n' does not match"),
    ({"JobConfigDocument": "{"}, "JobConfigDocument: is not valid JSON"),
    ({"JobConfigDocument": "[]"}, "JobConfigDocument: is not a JSON object"),
    ({"JobConfigDocument": "x" * 262_145}, "JobConfigDocument: the length: 262145 is more than"),
    ({"Tags": [{"Key": "a#", "Value": ""}]}, "Tags[0].Key: 'a#' does not match"),
    ({"Tags": [{"Key": "a"}]}, 'Missing required parameter in Tags[0]: "Value"'),
    ({"Tags": [{"Key": "a", "Value": ""}] * 2}, "Tags: a key is there twice"),
    ({"Tags": [{"Key": f"k{number}", "Value": ""} for number in range(51)]}, "number of items: 51"),
    ({"RoleArn": None}, 'Missing required parameter in input: "RoleArn"'),
    ({"Tag": []}, 'Unknown parameter in input: "Tag"'),
]


@pytest.mark.parametrize(("change", "part"), PARAMETERS)
def test_parameters_are_held_against_the_service_model(
    lasting: Served, change: dict[str, Any], part: str
) -> None:
    given = {
        "JobName": "a",
        "RoleArn": ROLE,
        "JobCategory": "AgentRFT",
        "JobConfigSchemaVersion": "1.0.0",
        "JobConfigDocument": json.dumps(TRAINING),
        **change,
    }
    status, _, answer = post(lasting.port, json.dumps(given).encode(), "SageMaker.CreateJob")
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert part in answer["message"]
    assert len(answer["message"]) < 2000


@pytest.mark.parametrize("value", [1e300, -1, 10**30, True, "x", "2026-01-01", [], {}])
def test_a_time_is_a_number_of_seconds(lasting: Served, value: object) -> None:
    body = json.dumps({"JobCategory": "AgentRFT", "CreationTimeAfter": value}).encode()
    status, _, answer = post(lasting.port, body, "SageMaker.ListJobs")
    assert (status, answer["__type"]) == (400, "ValidationException")
    assert answer["message"] == "CreationTimeAfter: must be a number of seconds since 1970"


@pytest.mark.parametrize("value", [0, 101, True, "5", 1.5])
def test_max_results_is_bounded(lasting: Served, value: object) -> None:
    body = json.dumps({"JobCategory": "AgentRFT", "MaxResults": value}).encode()
    assert post(lasting.port, body, "SageMaker.ListJobs")[0] == 400


def test_the_envelope_of_every_answer(lasting: Served) -> None:
    good = post(lasting.port, b'{"JobCategory": "AgentRFT"}', "SageMaker.ListJobs")
    assert good[0] == 200
    assert good[1]["Content-Type"] == "application/x-amz-json-1.1"
    bad = post(lasting.port, b'{"JobCategory": "AgentRFT", "JobName": "none"}')
    assert bad[2]["__type"] == "ResourceNotFound"
    identifiers = {answer[1]["x-amzn-RequestId"] for answer in (good, bad)}
    assert len(identifiers) == 2


@pytest.mark.parametrize(
    ("body", "code", "fields"),
    [
        (b"{", "SerializationException", {}),
        (b"\xff\xfe", "SerializationException", {}),
        (b"[]", "SerializationException", {}),
        (b'{"JobName": "\\ud800"}', "SerializationException", {}),
        (b"[" * 100_000, "SerializationException", {}),
        (b'{"JobName": %s1%s}' % (b"[" * 1000, b"]" * 1000), "SerializationException", {}),
        (b"x" * (MAX_BODY_BYTES + 1), "SerializationException", {}),
        (b"not gzip", "SerializationException", {"Content-Encoding": "gzip"}),
        (b"", "ValidationException", {}),
        (b"{}", "MissingAuthenticationTokenException", {"Authorization": ""}),
        (b"{}", "UnknownOperationException", {"X-Amz-Target": "SageMaker.CreateTrainingJob"}),
        (b"{}", "UnknownOperationException", {"X-Amz-Target": "Other.CreateJob"}),
        (b"{}", "UnknownOperationException", {"X-Amz-Target": "handle"}),
    ],
)
def test_broken_requests(lasting: Served, body: bytes, code: str, fields: dict[str, str]) -> None:
    target = None if "X-Amz-Target" in fields else "SageMaker.DescribeJob"
    status, _, answer = post(lasting.port, body, target, **fields)
    assert answer["__type"] == code
    assert status == (403 if code.startswith("MissingAuth") else 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
MEMBERS = ["JobName", "JobCategory", "RoleArn", "JobConfigSchemaVersion", "JobConfigDocument", "Tags"]
MEMBERS += ["NextToken", "MaxResults", "CreationTimeAfter", "NameContains", "SortBy", "StatusEquals"]
OPERATIONS = ["CreateJob", "DescribeJob", "ListJobs", "StopJob", "DeleteJob", "DescribeJobSchemaVersion"]
BODIES = (
    st.binary(max_size=200)
    | JSON.map(lambda value: json.dumps(value).encode())
    | st.dictionaries(st.sampled_from(MEMBERS), JSON | st.sampled_from(["AgentRFT", "1.0.0"])).map(
        lambda value: json.dumps(value).encode()
    )
)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operation=st.sampled_from(OPERATIONS), body=BODIES)
def test_no_body_breaks_the_server(lasting: Served, operation: str, body: bytes) -> None:
    status, _, answer = post(lasting.port, body, f"SageMaker.{operation}")
    # A random ListJobs or DescribeJobSchemaVersion may by chance be a good one.
    assert status == 400 or (status == 200 and "AgentRFT" in body.decode())
    assert status == 200 or {"__type", "message"} == set(answer)


@settings(max_examples=150, deadline=None)
@given(document=JSON, data=st.data())
def test_no_document_breaks_the_schema(document: Any, data: st.DataObject) -> None:
    category = data.draw(st.sampled_from(["AgentRFT", "AgentRFTEvaluation"]))
    whole = copy.deepcopy(TRAINING if category == "AgentRFT" else EVALUATION)
    section = data.draw(st.sampled_from(list(whole)))
    here: Any = whole
    if isinstance(whole[section], dict) and data.draw(st.booleans()):
        here, section = whole[section], data.draw(st.sampled_from(list(whole[section])))
    here[section] = document
    for found in (schema.problems(category, document), schema.problems(category, whole)):
        assert all(line.startswith("JobConfigDocument") for line in found)


def test_every_answer_is_of_the_output_shape(served: Served) -> None:
    served.create("shaped", Tags=[{"Key": "a", "Value": "b"}])
    served.finish("shaped", "Failed", "why")
    model = ServiceModel(Loader().load_service_model("sagemaker", "service-2"))
    named = {"JobName": "shaped", "JobCategory": "AgentRFT"}
    for operation, given_ in (
        ("DescribeJob", named),
        ("ListJobs", {"JobCategory": "AgentRFT"}),
        ("ListJobSchemaVersions", {"JobCategory": "AgentRFT"}),
        ("DescribeJobSchemaVersion", {"JobCategory": "AgentRFT"}),
        ("DeleteJob", named),
    ):
        status, _, answer = post(served.port, json.dumps(given_).encode(), f"SageMaker.{operation}")
        assert status == 200
        assert_shape(model.operation_model(operation).output_shape, answer)


def assert_shape(shape: Any, value: Any) -> None:
    if shape.type_name == "structure":
        assert set(shape.required_members) <= set(value) <= set(shape.members)
        for name, item in value.items():
            assert_shape(shape.members[name], item)
    elif shape.type_name == "list":
        for item in value:
            assert_shape(shape.member, item)
    else:
        assert isinstance(value, {"string": str, "timestamp": float, "integer": int}[shape.type_name])
        assert value in shape.metadata.get("enum", [value])
