"""The AgentCore target: a runtime, and endpoints that no deployment repoints."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.infra.conftest import ACCOUNT, Assemblies, Templates, resources, synthesize

Synthesized = Callable[[str, str], Templates]


def runtime(templates: Templates) -> dict[str, Any]:
    [found] = resources(templates["adapter-agentcore"], "AWS::BedrockAgentCore::Runtime")
    properties: dict[str, Any] = found["Properties"]
    return properties


def with_settings(**settings: Any) -> Templates:
    return synthesize("dev", "agentcore", {"targets": {"agentcore": {"artifact": "code", **settings}}})


def test_endpoints_are_named_after_the_version_that_they_serve() -> None:
    templates = with_settings(versions=[1, 3])
    endpoints = resources(templates["adapter-agentcore"], "AWS::BedrockAgentCore::RuntimeEndpoint")
    served = {each["Properties"]["Name"]: each["Properties"]["AgentRuntimeVersion"] for each in endpoints}
    assert served == {"v1": "1", "v3": "3"}


def test_jobs_are_started_on_the_newest_listed_version() -> None:
    document = json.dumps(with_settings(versions=[1, 3])["customization"])
    assert '\\"Qualifier\\":\\"v3\\"' in document or '\\\\"Qualifier\\\\":\\\\"v3\\\\"' in document


@pytest.mark.parametrize("env", ["dev", "prod"])
def test_the_runtime_is_in_the_vpc(synthesized: Synthesized, env: str) -> None:
    network = runtime(synthesized(env, "agentcore"))["NetworkConfiguration"]
    assert network["NetworkMode"] == "VPC"
    assert len(network["NetworkModeConfig"]["Subnets"]) == 2
    assert len(network["NetworkModeConfig"]["SecurityGroups"]) == 1


def test_development_may_do_without_a_vpc() -> None:
    assert runtime(with_settings(network_mode="public"))["NetworkConfiguration"] == {"NetworkMode": "PUBLIC"}


def test_the_name_is_one_that_agentcore_takes(synthesized: Synthesized) -> None:
    assert runtime(synthesized("prod", "agentcore"))["AgentRuntimeName"] == "mtrl_prod_sop"
    assert runtime(with_settings(runtime_name="ours"))["AgentRuntimeName"] == "ours"


def test_the_life_of_a_session_is_bounded(synthesized: Synthesized) -> None:
    life = runtime(synthesized("prod", "agentcore"))["LifecycleConfiguration"]
    assert life == {"IdleRuntimeSessionTimeout": 900, "MaxLifetime": 28800}


def test_the_code_is_for_the_python_that_its_packages_are_for(synthesized: Synthesized) -> None:
    code = runtime(synthesized("dev", "agentcore"))["AgentRuntimeArtifact"]["CodeConfiguration"]
    assert code["EntryPoint"] == ["main.py"]
    version = code["Runtime"].removeprefix("PYTHON_").replace("_", "")
    root = Path(__file__).parents[2]
    compiled = {path.name.split(".")[1] for path in (root / "out/packages/agentcore-sop").rglob("*.so")}
    tagged = {tag for tag in compiled if tag.startswith("cpython-3")}
    assert tagged == {f"cpython-{version}-aarch64-linux-gnu"}


def test_the_image_of_production_starts_the_http_entrypoint(
    synthesized: Synthesized, assemblies: Assemblies
) -> None:
    assert "ContainerConfiguration" in runtime(synthesized("prod", "agentcore"))["AgentRuntimeArtifact"]
    manifest = assemblies.folder("prod", "agentcore") / "mtrl-prod-sop-adapter-agentcore.assets.json"
    [image] = json.loads(manifest.read_text())["dockerImages"].values()
    assert image["source"]["dockerBuildTarget"] == "http"
    assert image["source"]["platform"] == "linux/arm64"


def test_only_agentcore_of_this_account_may_be_the_role(synthesized: Synthesized) -> None:
    template = synthesized("dev", "agentcore")["adapter-agentcore"]
    [role] = [r for r in resources(template, "AWS::IAM::Role") if "bedrock-agentcore" in json.dumps(r)]
    [statement] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Condition"]["StringEquals"] == {"aws:SourceAccount": ACCOUNT}
    source = statement["Condition"]["ArnLike"]["aws:SourceArn"]
    assert source == f"arn:aws:bedrock-agentcore:us-west-2:{ACCOUNT}:runtime/mtrl_dev_sop-*"


def test_there_is_no_queue_to_look_after(synthesized: Synthesized) -> None:
    assert "intake" not in synthesized("dev", "agentcore")
