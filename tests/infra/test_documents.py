"""The documents of the deployment say what the code does: tables, policies, snippets, pictures, commands."""

import ast
import json
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import aws_cdk as cdk
import botocore.session
import pytest
from aws_cdk import aws_iam as iam
from pydantic import BaseModel

from infra import idle_cost, settings, settings_table, target_settings
from infra.context import load
from infra.foundation.foundation import alarms_may_publish
from infra.foundation.key import key_policy
from infra.network.endpoints import interface_services
from infra.settings import Deployment
from tests.infra.conftest import ROOT, SHIPPED, Template, Templates, everywhere

DEPLOYMENT = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
SECURITY = (ROOT / "docs/security.md").read_text(encoding="utf-8")
PICTURES = sorted((ROOT / "docs/pictures").glob("*.dot"))
DEPLOYMENTS: dict[tuple[str, str], Deployment] = {
    (each.env, each.target.kind): each for each in idle_cost.shipped()
}
Synthesized = Callable[[str, str], Templates]


def rows(text: str, columns: int) -> Iterator[list[str]]:
    """The lines of tables of so many columns, without their heads."""
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split(" | ")]
        if line.startswith("| ") and len(cells) == columns:
            yield cells


def snippets(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_settings_are_those_of_the_models() -> None:
    """Renewed by `python -m infra.settings_table`."""
    made = settings_table.tables()
    assert made == DEPLOYMENT.split(f"{settings_table.BEGIN}\n")[1].split(f"\n{settings_table.END}")[0]


def test_every_setting_is_named() -> None:
    models = [
        each
        for module in (settings, target_settings)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, BaseModel)
    ]
    chosen = {"env", "target", "kind"}
    groups = {"buckets", "keda", "workers"} | {name for name, each in Deployment.model_fields.items()}
    fields = {name for model in models for name in model.model_fields} - chosen - groups
    assert len(fields) > 50
    named = set(re.findall(r"^\| `(\w+)` \|", DEPLOYMENT, re.MULTILINE))
    assert fields - named == set()


def test_the_idle_cost_is_computed() -> None:
    """Renewed by `python -m infra.idle_cost`."""
    assert idle_cost.tables() in DEPLOYMENT


@pytest.mark.parametrize(("env", "target"), SHIPPED)
def test_what_bills_by_the_hour_is_in_the_templates(synthesized: Synthesized, env: str, target: str) -> None:
    """The counts of the document, of the settings and of the templates are the same ones."""
    deployment, templates = DEPLOYMENTS[env, target], synthesized(env, target)
    (row,) = [cells for cells in rows(DEPLOYMENT, 10) if cells[0] == f"{env}, {target}"]
    endpoints = everywhere(templates, "AWS::EC2::VPCEndpoint")
    interfaces = [each for each in endpoints if each["Properties"]["VpcEndpointType"] == "Interface"]
    assert int(row[1]) == len(interface_services(deployment)) * len(deployment.zones)
    assert int(row[1]) == sum(len(each["Properties"]["SubnetIds"]) for each in interfaces)
    assert int(row[2]) == len(everywhere(templates, "AWS::EC2::NatGateway"))
    assert int(row[3]) == sum(map(read_by, everywhere(templates, "AWS::CloudWatch::Alarm")))
    clusters = everywhere(templates, "AWS::EKS::Cluster")
    assert idle_cost.watching(deployment)["cluster"] == len(clusters)


def read_by(alarm: Template) -> int:
    """How many metrics an alarm reads."""
    return sum("MetricStat" in each for each in alarm["Properties"].get("Metrics", ())) or 1


def test_the_totals_are_counts_times_the_prices_of_the_document() -> None:
    prices = {cells[0]: (float(cells[1]), cells[2]) for cells in rows(DEPLOYMENT, 5) if cells[2] in HOURS}
    assert len(prices) == len(idle_cost.PRICES)
    for row in [cells for cells in rows(DEPLOYMENT, 10) if "," in cells[0]]:
        env, target = row[0].split(", ")
        deployment = DEPLOYMENTS[env, target]
        parts = (idle_cost.network, idle_cost.workers, idle_cost.watching)
        total = 0.0
        for part, said in zip(parts, row[4:7], strict=True):
            dollars = 0.0
            for name, count in part(deployment).items():
                price, unit = prices[idle_cost.PRICES[name].what]
                dollars += count * price * HOURS[unit]
            assert abs(float(said) - dollars) <= 0.5
            total += dollars
        assert abs(float(row[7]) - total) <= 0.5


HOURS = {"hour": 730, "month": 1}


def test_prices_name_their_page_and_whether_they_were_read() -> None:
    for price in idle_cost.PRICES.values():
        assert price.source.startswith("https://aws.amazon.com/")
        assert price.confirmed


def test_ways_out_that_are_refused_have_no_price() -> None:
    eks = DEPLOYMENTS["dev", "eks"]
    assert idle_cost.with_network(eks, egress="ipv6_egress_only") is None
    fargate = idle_cost.with_network(DEPLOYMENTS["dev", "fargate"], egress="ipv6_egress_only")
    assert fargate is not None
    assert idle_cost.network(fargate)["nat"] == 0


def test_an_adopted_vpc_is_in_its_owners_bill() -> None:
    adopted = idle_cost.with_network(
        DEPLOYMENTS["prod", "fargate"],
        vpc_id="vpc-0123456789abcdef0",
        private_subnet_ids=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"],
        availability_zones=["us-west-2a", "us-west-2b"],
    )
    assert adopted is not None
    assert idle_cost.network(adopted) == {}


def test_what_prod_has_more_than_dev(synthesized: Synthesized) -> None:
    def counted(env: str) -> Counter[str]:
        templates = synthesized(env, "fargate")
        return Counter(each["Type"] for room in templates.values() for each in room["Resources"].values())

    more = counted("prod") - counted("dev")
    said = {cells[0].strip("`"): int(cells[1]) for cells in rows(DEPLOYMENT, 3) if "AWS::" in cells[0]}
    assert said == dict(more)
    assert not counted("dev") - counted("prod")


@pytest.mark.parametrize(("env", "target"), SHIPPED)
def test_the_stacks_are_listed_in_their_order(synthesized: Synthesized, env: str, target: str) -> None:
    listed = [cells[0] for cells in rows(DEPLOYMENT, 3) if cells[0].startswith("`<name>-")]
    names = [each.strip("`").removeprefix("<name>-").replace("<target>", target) for each in listed]
    assert set(synthesized(env, target)) == set(names) - ({"intake"} if target == "agentcore" else set())


def test_the_key_policy_for_an_adopted_key() -> None:
    place = DEPLOYMENTS["dev", "fargate"].model_copy(update={"account": "111122223333"})
    key, topic = (json.loads(each) for each in snippets(SECURITY, "json"))
    made = iam.PolicyDocument(statements=key_policy("aws", place))
    resolved = json.dumps(cdk.Stack().resolve(made)["Statement"])
    joined = re.sub(
        r'{"Fn::Join": \["", \["arn:", {"Ref": "AWS::Partition"}, "(.*?)"\]\]}', r'"arn:aws\1"', resolved
    )
    assert json.loads(joined) == key
    statement = iam.PolicyDocument(statements=[alarms_may_publish(place, topic["Resource"])])
    assert cdk.Stack().resolve(statement)["Statement"] == [topic]


def test_the_environments_of_another_team(tmp_path: Path) -> None:
    (example,) = snippets(DEPLOYMENT, "json")
    (tmp_path / "environments.json").write_text(example)
    context: dict[str, Any] = {"environments": "environments.json", "adapters": {"sop": {}}, "adapter": "sop"}
    for env in json.loads(example):
        made = load({**context, "env": env, "target": "ec2"}.get, tmp_path, "111111111111")
        assert made.name == f"claims-{env}-sop"


def test_a_job_is_started_by_names_that_the_service_knows() -> None:
    (snippet,) = snippets(DEPLOYMENT, "python")
    calls = [each for each in ast.walk(ast.parse(snippet)) if isinstance(each, ast.Call)]
    (create,) = [
        call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "create_job"
    ]
    shape = (
        botocore.session.get_session().get_service_model("sagemaker").operation_model("CreateJob").input_shape
    )
    given = {keyword.arg for keyword in create.keywords}
    assert set(shape.required_members) <= given <= set(shape.members)


def test_commands_of_aws_exist() -> None:
    session = botocore.session.get_session()
    commands = re.findall(r"aws ([a-z0-9-]+) ([a-z-]+)", DEPLOYMENT)
    assert len(commands) >= 4
    for service, operation in commands:
        known = session.get_service_model(service).operation_names
        assert operation.replace("-", "") in {name.lower() for name in known}, f"{service} {operation}"


@pytest.mark.parametrize("name", ["deployment", "security"])
def test_links_lead_somewhere(name: str) -> None:
    text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]*)(?:#[^)]*)?\)", text):
        assert target.startswith("https://") or (ROOT / "docs" / target).exists(), target
    for page, heading in re.findall(r"\]\(([\w.-]*)#([^)]*)\)", text):
        titles = re.findall(r"^#+ (.*)$", (ROOT / "docs" / (page or f"{name}.md")).read_text(), re.MULTILINE)
        assert heading in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_there_is_a_picture_for_each_target() -> None:
    assert {path.stem for path in PICTURES} == {target for _, target in SHIPPED}
    for path in PICTURES:
        assert f"pictures/{path.stem}.svg" in DEPLOYMENT


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_pictures_are_rendered_from_their_sources(path: Path) -> None:
    """By their words: the renderer's version decides the rest. Renewed by scripts/pictures.sh."""
    source, rendered = path.read_text(encoding="utf-8"), path.with_suffix(".svg").read_text(encoding="utf-8")
    labels = re.findall(r'label="(.*?)"', source) + re.findall(r"<td>(.*?)</td>", source)
    words = {part.strip() for label in labels for part in re.split(r"\\[nl]", label)} - {""}
    shown = {part.strip() for part in re.findall(r"<text[^>]*>(.*?)</text>", rendered)}
    assert {escaped(each) for each in words} == {escaped(unescaped(each)) for each in shown}
    assert re.search(r'<polygon fill="white"', rendered), (
        "without a background it is unreadable on a dark page"
    )


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def unescaped(text: str) -> str:
    for entity, sign in (("&lt;", "<"), ("&gt;", ">"), ("&#45;", "-"), ("&#39;", "'"), ("&amp;", "&")):
        text = text.replace(entity, sign)
    return text


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_pictures_name_what_is_deployed(synthesized: Synthesized, path: Path) -> None:
    """Stacks, and the endpoints of both environments."""
    source, target = path.read_text(encoding="utf-8"), path.stem
    assert {f"<name>-{room}" for room in synthesized("prod", target)} <= set(
        re.findall(r"stack (\S+?)[;:\\]", source)
    )
    drawn = source[source.index("endpoints: ") :].split('"')[0]
    for service in interface_services(DEPLOYMENTS["dev", target]):
        assert re.search(rf"[ n]{re.escape(service)}\b", drawn), service


@pytest.mark.skipif(shutil.which("neato") is None, reason="graphviz is not installed")
def test_every_text_fits_its_box(tmp_path: Path) -> None:
    script = [str(ROOT / "scripts/pictures.sh"), str(tmp_path)]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {made.stem for made in tmp_path.glob("*.svg")} == {path.stem for path in PICTURES}


def test_findings_have_their_place() -> None:
    assert SECURITY.count("<!-- acknowledged: begin -->") == 1
    assert SECURITY.index("<!-- acknowledged: begin -->") < SECURITY.index("<!-- acknowledged: end -->")
