"""JobConfigDocuments: what is taken, what is refused and in which words."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from rehearsal.service import schema

from .test_control_plane import ACCOUNT, EVALUATION, MODEL, OUTPUT, OWN, REGION, TRAINING, Served, refused


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    server = Served(tmp_path)
    yield server
    server.close()


def test_a_wrong_document_is_refused_with_everything_that_is_wrong(served: Served) -> None:
    document = copy.deepcopy(TRAINING)
    document["AgentConfig"] = {}
    document["TrainingConfig"] |= {"AcceptEula": False, "HyperParameters": {"group_size": 64, "top_p": 1}}
    document["OutputDataConfig"]["S3OuputPath"] = document["OutputDataConfig"].pop("S3OutputPath")
    document["InputDataConfig"][0]["DataSource"]["S3DataSource"]["S3Uri"] = "http://example.com/"
    steps = document["ModelPackageConfig"]["OutputModelPackageGroupArn"]
    document["ModelPackageConfig"]["IntermediateCheckpointModelPackageGroupArn"] = steps
    code, message = refused(served.create, "wrong", document)
    assert code == "ValidationException"
    for part in (
        "JobConfigDocument.TrainingConfig.HyperParameters.group_size: 64 is more than the maximum 32",
        "JobConfigDocument.TrainingConfig.HyperParameters.top_p: is unknown; did you mean 'sampling_top_p'?",
        "JobConfigDocument.AgentConfig: must hold exactly one of BedrockAgentCoreConfig, Custom",
        "JobConfigDocument.TrainingConfig.AcceptEula: must be true",
        "JobConfigDocument.OutputDataConfig.S3OutputPath: is missing",
        "JobConfigDocument.OutputDataConfig.S3OuputPath: is unknown; did you mean 'S3OutputPath'?",
        "InputDataConfig[0].DataSource.S3DataSource.S3Uri: 'http://example.com/' is not an s3:// URI",
        "IntermediateCheckpointModelPackageGroupArn: must not be the OutputModelPackageGroupArn",
    ):
        assert part in message
    assert served.client.list_jobs(JobCategory="AgentRFT")["JobSummaries"] == []


def test_a_runtime_of_another_region_is_refused_and_a_function_is_not(served: Served) -> None:
    runtime = f"arn:aws:bedrock-agentcore:eu-west-1:{ACCOUNT}:runtime/agent-1234567890"
    function = f"arn:aws:lambda:eu-west-1:{ACCOUNT}:function:f"
    away = TRAINING | {"AgentConfig": {"BedrockAgentCoreConfig": {"AgentRuntimeArn": runtime}}}
    code, message = refused(served.create, "away", away)
    assert (code, served.jobs.unfinished()) == ("ValidationException", [])
    assert f"AgentRuntimeArn: the runtime is in eu-west-1, this job in {REGION}" in message
    forwarder = {"CustomAgentLambdaConfig": {"LambdaArn": function}}
    served.create("forwarded", TRAINING | {"AgentConfig": forwarder})


WRONG: list[tuple[str, dict[str, Any], str]] = [
    ("AgentRFT", {"AgentConfig": json.loads("[" * 900 + "]" * 900)}, "more than 32 levels deep"),
    ("AgentRFT", {"ServiceOutput": {}}, "JobConfigDocument.ServiceOutput: is unknown"),
    ("AgentRFT", {"InputDataConfig": TRAINING["InputDataConfig"] * 2}, "names a channel twice"),
    ("AgentRFT", {"InputDataConfig": []}, "InputDataConfig: has no channel 'train'"),
    ("AgentRFT", {"InputDataConfig": EVALUATION["InputDataConfig"]}, "'evaluation' is not one of train"),
    ("AgentRFT", {"StoppingCondition": {"MaxRuntimeInSeconds": 0}}, "0 is less than the minimum 1"),
    ("AgentRFT", {"TrainingConfig": None}, "TrainingConfig: must be an object, not null"),
    ("AgentRFT", {f"x{number}": 1 for number in range(999)}, "JobConfigDocument: and more"),
    ("AgentRFTEvaluation", {"ModelPackageConfig": TRAINING["ModelPackageConfig"]}, "Arn: is unknown"),
    (
        "AgentRFTEvaluation",
        {"EvaluationConfig": {"BaseModelArn": MODEL, "HyperParameters": {"top_p": "1"}}},
        "EvaluationConfig.HyperParameters.top_p: is unknown; did you mean 'sampling_top_p'?",
    ),
    (
        "AgentRFTEvaluation",
        {"EvaluationConfig": {"BaseModelArn": MODEL, "HyperParameters": [1]}},
        "EvaluationConfig.HyperParameters: must be an object, not an array",
    ),
]


@pytest.mark.parametrize(("category", "change", "part"), WRONG)
def test_each_wrong_document(served: Served, category: str, change: dict[str, Any], part: str) -> None:
    document = {**(TRAINING if category == "AgentRFT" else EVALUATION), **change}
    code, message = refused(served.create, "wrong", document, JobCategory=category)
    assert code == "ValidationException"
    assert part in message


def test_what_the_public_sdk_sends_is_taken(served: Served) -> None:
    mlflow = {"MlflowResourceArn": f"{OWN}:mlflow-app/app-1", "MlflowExperimentName": "e"}
    document = copy.deepcopy(TRAINING)
    document["AgentConfig"] = {
        "BedrockAgentCoreConfig": {
            "AgentRuntimeArn": f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/agent-0123456789",
            "Qualifier": "PROD",
        }
    }
    document["TrainingConfig"]["MlflowConfig"] = mlflow
    document["VpcConfig"] = {"SecurityGroupIds": ["sg-1"], "Subnets": ["subnet-1", "subnet-2"]}
    document["OutputDataConfig"]["KmsKeyArn"] = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd"
    served.create("training", document)
    document = copy.deepcopy(EVALUATION)
    document["OutputDataConfig"]["MlflowConfig"] = mlflow
    document["ModelPackageConfig"] = {"InputModelPackageArn": OUTPUT}
    served.create("evaluation", document, JobCategory="AgentRFTEvaluation")


def test_the_licence_may_be_left_out_as_the_sdk_does(served: Served) -> None:
    document = copy.deepcopy(TRAINING)
    del document["TrainingConfig"]["AcceptEula"]
    served.create("without-eula", document)


def test_the_schema_is_published_and_means_what_is_applied(served: Served) -> None:
    for category, document in (("AgentRFT", TRAINING), ("AgentRFTEvaluation", EVALUATION)):
        versions = served.client.list_job_schema_versions(JobCategory=category)["JobConfigSchemas"]
        assert versions == [{"JobConfigSchemaVersion": "1.0.0"}]
        told = served.client.describe_job_schema_version(JobCategory=category)
        assert told["JobConfigSchemaVersion"] == "1.0.0"
        published = json.loads(told["JobConfigSchema"])
        jsonschema_rs.meta.validate(published)
        assert jsonschema_rs.validator_for(published).is_valid(document)
        assert schema.problems(category, document) == []
    missing = {"JobCategory": "AgentRFT", "JobConfigSchemaVersion": "9.9.9"}
    assert refused(served.client.describe_job_schema_version, **missing)[0] == "ResourceNotFound"
