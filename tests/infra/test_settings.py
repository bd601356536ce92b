"""What can be written wrongly in cdk.json, and the sentence that each mistake gets."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.context import load
from infra.errors import EXAMPLES, SettingsError
from infra.names import Names
from infra.settings import Deployment

ROOT = Path(__file__).parents[2]
ACCOUNT = "111111111111"


def deployment(
    target: str = "fargate",
    of_adapter: Mapping[str, Any] | None = None,
    default_account: str | None = ACCOUNT,
    **entry: Any,
) -> Deployment:
    """The deployment of an environment `dev` with these entries."""
    dev = {"region": "us-west-2", "protect": False, **entry}
    context = {"env": "dev", "target": target, "adapter": "sop"}
    tables = {"environments": {"dev": dev}, "adapters": {"sop": dict(of_adapter or {})}}
    return load({**context, **tables}.get, ROOT, default_account)


def fargate(**settings: Any) -> dict[str, Any]:
    return {"targets": {"fargate": settings}}


def agentcore(**settings: Any) -> dict[str, Any]:
    return {"target": "agentcore", "targets": {"agentcore": settings}}


def eks(**settings: Any) -> dict[str, Any]:
    return {"target": "eks", "targets": {"eks": settings}}


def ec2(**settings: Any) -> dict[str, Any]:
    return {"target": "ec2", "targets": {"ec2": settings}}


SUBNETS = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"regoin": "us-west-2"}, "regoin: unknown key. Did you mean 'region'? Accepted: account, adapter,"),
    ({"region": "us-west"}, "region: 'us-west' does not have the form of a Region, such as 'us-west-2'."),
    (
        {"account": "12345"},
        "account: '12345' does not have the form of an account id, such as '123456789012'.",
    ),
    (
        {"default_account": None},
        "account: is required. Pin it for the environment, or give the CDK CLI credentials.",
    ),
    ({"prefix": "My-Team"}, "prefix: 'My-Team' does not have the form of a prefix: 1 to 10 small letters"),
    (
        {"protect": "perhaps"},
        "protect: input should be a valid boolean, unable to interpret input, not 'perhaps'.",
    ),
    ({"targes": {}}, "targes: unknown key. Did you mean 'targets'? Accepted: account, adapter, bootstrap_qu"),
    ({"env": "prod"}, "environments.dev.env: is chosen by -c env=NAME; take it out."),
    (fargate(kind="eks"), "targets.fargate.kind: is chosen by -c target=NAME; take it out."),
    ({"targets": {"farget": {}}}, "targets: unknown key 'farget'. Did you mean 'fargate'?"),
    ({"targets": []}, "environments.dev.targets: must be an object, not []."),
    (fargate(cpuu=1), "targets.fargate.cpuu: unknown key. Did you mean 'cpu'? Accepted: cluster_name, cpu,"),
    (fargate(cpu=300), "targets.fargate: cpu: Fargate takes 256, 512, 1024, 2048, 4096, not 300."),
    (fargate(memory_mb=512), "memory_mb: with cpu 512 Fargate does not take 512; nearest: 1024."),
    (fargate(stop_timeout=300), "targets.fargate: stop_timeout: Fargate takes at most 120 s, not 300."),
    (
        fargate(workers={"min": 3, "max": 2}),
        "targets.fargate.workers: workers.min (3) is above workers.max (2).",
    ),
    (fargate(workers={"spot_share": 1.5}), "spot_share: input should be less than or equal to 1, not 1.5."),
    (
        {**fargate(workers={"max": 1}), "adapter": {"max_concurrency": 8}},
        "settings: workers.max x adapter.max_concurrency is below 32, the least that a job keeps in flight.",
    ),
    (
        agentcore(runtime_name="my-agent"),
        "'my-agent' is no AgentCore name (a letter, then letters, digits and",
    ),
    (agentcore(versions=[]), "targets.agentcore.versions: must have 1 or more, and has 0."),
    (agentcore(versions=[2, 0]), "targets.agentcore.versions.1: input should be greater than or equal to 1"),
    (agentcore(versions=[1, 1]), "targets.agentcore: versions: one is listed twice."),
    (
        {**agentcore(network_mode="public"), "protect": True},
        "network_mode: a protected environment runs AgentCore in the VPC; set it to 'vpc'.",
    ),
    (
        agentcore(artifact="zip"),
        "targets.agentcore.artifact: unknown value 'zip'. Accepted: code, container.",
    ),
    (agentcore(idle_minutes=60, max_lifetime_minutes=30), "idle_minutes is above max_lifetime_minutes."),
    (
        eks(cluster_name="ours"),
        "cluster_name needs kubectl_role_arn and cluster_security_group_id: nothing is",
    ),
    (
        eks(cluster_security_group_id="sg-0123456789abcdef0"),
        "kubectl_role_arn and cluster_security_group_id need cluster_name: they are for adoption.",
    ),
    (eks(version="1.12"), "targets.eks.version: unknown value '1.12'. Accepted: 1.34, 1.35."),
    (
        eks(instance_types=["m5.large"]),
        "'m5.large' does not have the form of an arm64 instance type, such as",
    ),
    (
        ec2(drain_seconds=7141),
        "targets.ec2: drain_seconds: is at most 7140, not 7141: the lifecycle hook waits 60 s longer",
    ),
    (
        ec2(drain_seconds=121, workers={"spot_share": 0.5}),
        "targets.ec2: drain_seconds: Spot takes its capacity back 120 s after the notice, so with "
        "workers.spot_share above 0 it is at most 120, not 121.",
    ),
    (
        eks(grace_seconds=300, workers={"spot_share": 1.0}),
        "targets.eks: grace_seconds: Spot takes its capacity back 120 s after the notice, so with",
    ),
    ({"network": {"egress": "net"}}, "network.egress: unknown value 'net'. Did you mean 'nat'?"),
    (
        {"network": {"cidr": "10.0.0.0/8"}},
        "network.cidr: '10.0.0.0/8' does not have the form of an IPv4 range",
    ),
    (
        {"network": {"private_subnet_ids": SUBNETS}},
        "network: private_subnet_ids are given without vpc_id: name",
    ),
    (
        {"network": {"vpc_id": "vpc-0123456789abcdef0", "private_subnet_ids": SUBNETS[:1]}},
        "network: vpc_id needs private_subnet_ids, two or more in different zones.",
    ),
    (
        {"network": {"vpc_id": "vpc-0123456789abcdef0", "private_subnet_ids": SUBNETS}},
        "network: private_subnet_ids and availability_zones must be of one length: one zone a subnet.",
    ),
    ({"network": {"availability_zones": ["us-west-2a"]}}, "availability_zones must name two different zones"),
    (
        {"network": {"availability_zones": ["eu-west-1a", "eu-west-1b"]}},
        "settings: network.availability_zones: eu-west-1a is not in region us-west-2.",
    ),
    (
        {"foundation": {"key_arn": "alias/mine"}},
        "foundation.key_arn: 'alias/mine' does not have the form of an ARN",
    ),
    (
        {"foundation": {"buckets": {"promts": "a"}}},
        "foundation.buckets.promts: unknown key. Did you mean 'prompts'?",
    ),
    (
        {"intake": {"timeout_seconds": 20}},
        "greater than or equal to 32, not 20: the forwarder's calls to S3 and SQS may take 28 s.",
    ),
    (
        {"intake": {"timeout_seconds": 70}},
        "intake.timeout_seconds: input should be less than or equal to 60, not 70.",
    ),
    (
        {"intake": {"max_receive_count": 3}},
        "max_receive_count: input should be greater than or equal to 50, not 3.",
    ),
    (
        {"adapter": {"budget_seconds": 50000}},
        "budget_seconds: input should be less than or equal to 39600, not 50000",
    ),
    (
        {"adapter": {"on_crash": "restart"}},
        "adapter.on_crash: unknown value 'restart'. Accepted: fail, leave, resume.",
    ),
    (
        {"adapter": {"image_uri": "registry/adapter"}},
        "does not have the form of an image with its tag or digest",
    ),
    (
        {"adapter": {"variables": {"MTRL_QUEUE_URL": "x"}}},
        "variables: 'MTRL_QUEUE_URL' is set by the deployment; the environment's own begin with MTRL_SOP_.",
    ),
    (
        {"adapter": {"variables": {"MTRL_SOP_MAX_TURN": "3"}}},
        "adapter.variables: unknown variable 'MTRL_SOP_MAX_TURN'. Did you mean 'MTRL_SOP_MAX_TURNS'?",
    ),
    ({"adapter": {"path": "nowhere"}}, f"adapter.path: there is no folder {ROOT}/nowhere. Give its path"),
    ({"adapter": {"pip_conf": "nope.conf"}}, f"adapter.pip_conf: there is no file {ROOT}/nope.conf. Give"),
    (
        {"observability": {"runbooks_url": "http://x/"}},
        "'http://x/' does not have the form of an https:// address without a slash at its end, such as",
    ),
    (
        {"customization": {"job_role_arn": "arn:aws:iam::1:user/x"}},
        "job_role_arn: 'arn:aws:iam::1:user/x' does not have the form of an ARN, such as 'arn:aws:iam::1234",
    ),
    (
        {"adapter": {"variables": {"DB_PASSWORD": "x"}}},
        "variables: 'DB_PASSWORD' looks like a secret; put its ARN here, and read it at run time.",
    ),
    (
        {"adapter": {"variables": {"GREETING": "one\ntwo"}}},
        "adapter: variables: 'GREETING' must be one line, without tabs and the like.",
    ),
    (
        {"observability": {"log_retention_days": 31}},
        "log_retention_days: CloudWatch knows no 31; nearest: 30.",
    ),
    (
        {"observability": {"alarm_emails": ["me"]}},
        "alarm_emails.0: 'me' does not have the form of an e-mail address.",
    ),
    (
        {"customization": {"base_model": "amazon-nova-lite-2"}},
        "true for Nova models and for no others; base_model is 'amazon-nova-lite-2'.",
    ),
    (
        {
            "customization": {
                "output_group_arn": "arn:aws:s:r:1:a",
                "intermediate_group_arn": "arn:aws:s:r:1:a",
            }
        },
        "output_group_arn and intermediate_group_arn must differ: the service refuses one for both.",
    ),
]


@pytest.mark.parametrize(("entry", "sentence"), MISTAKES, ids=[sentence[:48] for _, sentence in MISTAKES])
def test_each_mistake_has_its_sentence(entry: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as caught:
        deployment(**entry)
    assert sentence in str(caught.value)


def test_an_environment_does_not_choose_a_target() -> None:
    tables = {"environments": {"dev": {"region": "us-west-2", "target": "eks"}}, "adapters": {"sop": {}}}
    with pytest.raises(SettingsError) as caught:
        load({"env": "dev", "target": "fargate", "adapter": "sop", **tables}.get, ROOT, ACCOUNT)
    assert caught.value.problems == ("environments.dev.target: is chosen by -c target=NAME; take it out.",)


def test_a_wrong_item_is_told_once() -> None:
    with pytest.raises(SettingsError) as caught:
        deployment(**eks(instance_types=["m5.large"]))
    (problem,) = caught.value.problems
    assert problem.startswith("targets.eks.instance_types.0: 'm5.large' does not have the form of")


def test_a_missing_account_hides_no_other_mistake() -> None:
    with pytest.raises(SettingsError) as caught:
        deployment(default_account=None, targes={}, targets={"farget": {}}, adapter={"pip_conf": "nope.conf"})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "targets",
        "adapter.pip_conf",
        "account",
        "targes",
    ]
    with pytest.raises(SettingsError) as caught:
        deployment(default_account=None, adapter={"max_concurrency": 8}, **fargate(workers={"max": 1}))
    assert "is below 32, the least" in caught.value.problems[1]


def test_every_form_is_told_by_an_example() -> None:
    """No user is shown a regular expression."""

    def patterned(schema: Any, name: str) -> set[str]:
        found = {name} if isinstance(schema, dict) and "pattern" in schema else set()
        inner = (
            schema.items()
            if isinstance(schema, dict)
            else enumerate(schema)
            if isinstance(schema, list)
            else ()
        )
        for key, each in inner:
            transparent = not isinstance(key, str) or key in ("anyOf", "items")
            found |= patterned(each, name if transparent else str(key))
        return found

    fields = patterned(Deployment.model_json_schema(), "")
    assert len(fields) > 30
    assert {name for name in fields if not name.endswith(("_arn", "_arns"))} <= EXAMPLES.keys()


def test_all_mistakes_are_told_at_once() -> None:
    with pytest.raises(SettingsError) as caught:
        deployment(netwrk={}, intake={"memory": 1}, targets={"fargate": {"cpuu": 1}})
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "intake.memory",
        "targets.fargate.cpuu",
        "netwrk",
    ]


@pytest.mark.parametrize(
    ("chosen", "sentence"),
    [
        ({"env": "prd"}, "unknown env 'prd'. Did you mean 'prod'? Accepted: dev, prod."),
        (
            {"target": "farget"},
            "unknown target 'farget'. Did you mean 'fargate'? Accepted: agentcore, ec2, eks,",
        ),
        ({"adapter": "spo"}, "unknown adapter 'spo'. Did you mean 'sop'?"),
        ({"env": None}, "env: is not chosen. Add -c env=NAME. Accepted: dev, prod."),
    ],
)
def test_what_is_chosen_must_exist(chosen: dict[str, Any], sentence: str) -> None:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": "dev", "target": "fargate", "adapter": "sop", **chosen}
    with pytest.raises(SettingsError) as caught:
        load(context.get, ROOT, ACCOUNT)
    assert sentence in str(caught.value)


def test_a_table_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "environments.json").write_text('{"dev": {"region": "eu-west-1", "protect": false}}')
    context = {"env": "dev", "target": "ec2", "adapter": "sop", "adapters": {"sop": {}}}
    found = load({**context, "environments": "environments.json"}.get, tmp_path, ACCOUNT)
    assert (found.region, found.name, found.target.kind) == ("eu-west-1", "mtrl-dev-sop", "ec2")
    with pytest.raises(SettingsError, match=r"the file .*missing\.json cannot be read: No such file"):
        load({**context, "environments": "missing.json"}.get, tmp_path, ACCOUNT)
    (tmp_path / "broken.json").write_text("{")
    with pytest.raises(SettingsError, match=r"the file .*broken\.json is not valid JSON"):
        load({**context, "environments": "broken.json"}.get, tmp_path, ACCOUNT)


def test_an_environment_has_the_last_word_on_its_adapter() -> None:
    found = deployment(of_adapter={"max_attempts": 3, "log_level": "DEBUG"})
    assert (found.adapter.max_attempts, found.adapter.log_level) == (3, "DEBUG")
    found = deployment(of_adapter={"max_attempts": 3, "log_level": "DEBUG"}, adapter={"log_level": "WARNING"})
    assert (found.adapter.max_attempts, found.adapter.log_level) == (3, "WARNING")


@pytest.mark.parametrize("target", [ec2(drain_seconds=7140), eks(grace_seconds=3600)])
def test_without_spot_a_drain_may_take_long(target: dict[str, Any]) -> None:
    assert deployment(**target).target.workers.spot_share == 0  # type: ignore[union-attr]


def test_a_message_outlives_the_retries_of_the_service() -> None:
    assert deployment(of_adapter={"budget_seconds": 1200}).message_retention_seconds == 1200 * 11


def test_names_fit_what_is_named_by_them() -> None:
    longest = {"env": "e" * 8, "target": "fargate", "adapter": "a" * 21}
    entry = {"region": "us-west-2", "prefix": "p" * 10}
    tables = {"environments": {"e" * 8: entry}, "adapters": {"a" * 21: {}}}
    found = load({**longest, **tables}.get, ROOT, ACCOUNT)
    assert len(found.name) == 41
    assert len(Names(found).bucket("rollout_logs")) == 63  # S3's limit


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": "farget"}, "unknown target 'farget'. Did you mean 'fargate'?"),
        ({"adapters": {"sop": {"environment": "nope"}}}, "Unknown environment 'nope'. Known: "),
    ],
)
def test_the_app_ends_without_a_traceback(changes: dict[str, Any], said: str) -> None:
    """As the CDK CLI starts it: the context in an environment variable."""
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": "dev", "target": "fargate", "adapter": "sop", **changes}
    done = subprocess.run(
        [sys.executable, ROOT / "app.py"],
        env={**os.environ, "CDK_CONTEXT_JSON": json.dumps(context), "CDK_DEFAULT_ACCOUNT": ACCOUNT},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert f"The settings cannot be deployed:\n  {said}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--env", "dev", "--env", "nope"], "unknown env 'nope'. Accepted: dev, prod."),
        (["--target", "nope"], "unknown target 'nope'. Accepted: agentcore, ec2, eks, fargate."),
        (["--adapter", "nope"], "unknown adapter 'nope'. Accepted: sop."),
    ],
)
def test_a_synthesis_ends_without_a_traceback(arguments: list[str], said: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "infra.synthesis", "--out", str(tmp_path / "out"), *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"The settings cannot be deployed:\n  {said}\n"
    assert not (tmp_path / "out").exists()
