"""The JobConfigDocuments of a deployment: valid, in agreement with the adapter, and good for real jobs."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from infra import hyperparameters
from infra.errors import SettingsError
from rehearsal.service.schema import problems
from rehearsal.trainer.hyperparameters import EvaluationHyperparameters, TrainingHyperparameters
from tests.infra.conftest import ACCOUNT, SHIPPED, Templates
from tests.infra.customization_room import CATEGORIES, KEY, NOVA, QUICK, RUNTIME, VPC, Room, room, settings_of
from tests.service.small_s3 import small_s3
from tests.service.stand_in import AgentServer, StandIn, describe


@pytest.mark.parametrize(
    "custom", [{"training": QUICK, **VPC}, {**NOVA, "accept_eula": True}], ids=["vpc", "nova"]
)
@pytest.mark.parametrize("target", ["fargate", "agentcore"])
@pytest.mark.parametrize("kind", CATEGORIES)
def test_documents_are_what_the_service_takes(kind: str, target: str, custom: dict[str, Any]) -> None:
    made = room(target, **custom)
    document = made.document(kind)
    assert problems(CATEGORIES[kind], document) == []
    output = document["OutputDataConfig"]
    assert output["KmsKeyArn"] == KEY
    assert output["MlflowConfig"]["MlflowResourceArn"] == made.output("MlflowAppArn")
    if target == "agentcore":
        runtime = {"AgentRuntimeArn": RUNTIME, "Qualifier": "v3"}
        assert document["AgentConfig"] == {"BedrockAgentCoreConfig": runtime}
    assert ("VpcConfig" in document) == ("job_in_vpc" in custom)
    model = botocore.session.get_session().get_service_model("sagemaker")
    request = {
        "JobName": f"{made.output('JobNamePrefix')}one",
        "RoleArn": made.output("JobRoleArn"),
        "JobCategory": CATEGORIES[kind],
        "JobConfigSchemaVersion": "1.0.0",
        "JobConfigDocument": json.dumps(document),
    }
    report = ParamValidator().validate(request, model.operation_model("CreateJob").input_shape)
    assert not report.has_errors(), report.generate_report()


@pytest.mark.parametrize(("env", "target"), SHIPPED)
def test_every_shipped_deployment_has_valid_documents(
    synthesized: Callable[[str, str], Templates], env: str, target: str
) -> None:
    made = Room(synthesized(env, target), "customization")
    for kind, category in CATEGORIES.items():
        document = made.document(kind)
        assert problems(category, document) == []
        (agent,) = document["AgentConfig"]
        expected = "BedrockAgentCoreConfig" if target == "agentcore" else "CustomAgentLambdaConfig"
        assert agent == expected


def test_a_job_waits_for_a_rollout_as_long_as_the_adapter_works_on_it() -> None:
    for kind, section in (("training", "TrainingConfig"), ("evaluation", "EvaluationConfig")):
        values = room().document(kind)[section]["HyperParameters"]
        assert str(values["rollout_timeout"]) == str(settings_of("fargate", {}).adapter.budget_seconds)


def test_a_job_keeps_no_more_rollouts_in_flight_than_workers_have_room_for() -> None:
    from infra.customization.documents import Parts, training
    from infra.targets.contract import Agent

    small = settings_of("fargate", {}, adapter={"max_concurrency": 20})
    arns: dict[str, Any] = {
        "key_arn": KEY,
        "mlflow_arn": "m",
        "output_group_arn": "o",
        "intermediate_group_arn": "i",
    }
    document: Any = training(Parts(settings=small, agent=Agent(forwarder_arn="f"), **arns))
    assert document["TrainingConfig"]["HyperParameters"]["rollout_max_concurrency"] == 40
    assert "rollout_max_concurrency" not in json.dumps(room().document("training"))


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Room], StandIn]]:
    """A stand-in of the service in the deployment's account, with its buckets and a small agent."""
    agent = AgentServer()
    forwarder = tmp_path / "handler.py"
    # In the place of queue and worker: the request reaches the same agent, by one way or the other.
    forwarder.write_text(
        "import json, urllib.request\n"
        "def handler(event, context):\n"
        f"    request = urllib.request.Request({agent.url + '/invocations'!r}, json.dumps(event).encode())\n"
        "    request.add_header('Content-Type', 'application/json')\n"
        "    urllib.request.urlopen(request, timeout=30).close()\n"
        "    return {}\n"
    )
    with small_s3() as (url, objects):
        for name, value in (
            ("ACCESS_KEY_ID", "AKID"),
            ("SECRET_ACCESS_KEY", "s"),
            ("DEFAULT_REGION", "us-west-2"),
        ):
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", url)
        service = StandIn(tmp_path / "state", agents={"*": agent.url}, forwarder=forwarder, account=ACCOUNT)

        def prepared(made: Room) -> StandIn:
            for kind in CATEGORIES:
                for channel in made.document(kind)["InputDataConfig"]:
                    place = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
                    rows = (json.dumps({"prompt": str(number)}) for number in range(32))
                    objects[f"{place}prompts.jsonl"] = "\n".join(rows).encode()
            return service

        yield prepared
        service.close()
    agent.close()


@pytest.mark.parametrize("target", ["fargate", "agentcore"])
def test_documents_start_jobs(local: Callable[[Room], StandIn], target: str) -> None:
    made = room(target, training=QUICK, evaluation={"eval_group_size": 2, "pass_k_values": [1, 2]})
    service = local(made)
    for kind, category in CATEGORIES.items():
        name = f"{made.output('JobNamePrefix')}{kind}"
        service.create(name, made.document(kind), category)
        job = service.wait(name, category)
        assert job["JobStatus"] == "Completed", job.get("FailureReason")
        assert (
            describe(service.sagemaker, name, category)["output"]["BillableTokenUsage"]["SampleTokenCount"]
            > 0
        )


def test_the_table_is_the_trainers() -> None:
    theirs = {"training": TrainingHyperparameters.TABLE, "evaluation": EvaluationHyperparameters.TABLE}
    for document, table in hyperparameters.TABLES.items():
        assert set(theirs[document]) - set(table) <= {"val_sampling_max_tokens"}, (
            "a name of the rehearsal alone"
        )
        for name, row in table.items():
            known = theirs[document][name]
            for field in ("kind", "low", "high", "above", "choices"):
                assert getattr(row, field) == getattr(known, field), f"{document}.{name}.{field}"


@pytest.mark.parametrize(
    ("customization", "message"),
    [
        (
            {"training": {"learningrate": 1e-5}},
            "unknown hyperparameter 'learningrate'. Did you mean 'learning_rate'?",
        ),
        ({"training": {"group_size": 1}}, "training.group_size: 1 is not a whole number from 2 to 32."),
        ({"training": {"max_steps": True}}, "training.max_steps: True is not a whole number from 1 to 1000."),
        (
            {"training": {"loss_fn": "ppp"}},
            "training.loss_fn: 'ppp' is not one of importance_sampling, ppo, cispo.",
        ),
        ({"training": {"learning_rate": 0}}, "training.learning_rate: 0 is not a number above 0 to 0.01."),
        (
            {"training": {"global_batch_size": 48}},
            "training.global_batch_size: 48 is not one of 32, 64, 128.",
        ),
        ({"evaluation": {"top_p": 1}}, "unknown hyperparameter 'top_p'. Did you mean 'sampling_top_p'?"),
        ({"evaluation": {"pass_k_values": [1, 1]}}, "is not a list of different whole numbers from 1 to 32."),
        ({"evaluation": {"pass_k_values": [1, 8]}}, "pass@8 needs eval_group_size 8 or more."),
        (
            {"training": {"rollout_timeout": 900}},
            "is 900, but adapter.budget_seconds is 600; set the latter alone",
        ),
    ],
)
def test_wrong_hyperparameters_are_refused_at_synthesis(customization: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        settings_of("fargate", customization)
    assert message in str(refused.value)
