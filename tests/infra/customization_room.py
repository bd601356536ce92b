"""The stack of the SageMaker side, synthesized alone, with the ids that AWS would have made up."""

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

from infra.context import load
from tests.infra.conftest import ACCOUNT, ROOT, Template, resources

RUNTIME = f"arn:aws:bedrock-agentcore:us-west-2:{ACCOUNT}:runtime/mtrl_dev_sop-0123456789"
OWN = f"arn:aws:sagemaker:us-west-2:{ACCOUNT}"
KEY = f"arn:aws:kms:us-west-2:{ACCOUNT}:key/01234567-89ab-cdef-0123-456789abcdef"
NOVA: dict[str, Any] = {"base_model": "nova-lite-2-0", "restricted_models": True}
VPC: dict[str, Any] = {"job_in_vpc": True}
QUICK = {"global_batch_size": 32, "group_size": 2, "max_steps": 1, "val_every": 1}
PARAMETER, POLICY = "AWS::SSM::Parameter", "AWS::IAM::ManagedPolicy"
CATEGORIES = {"training": "AgentRFT", "evaluation": "AgentRFTEvaluation"}
MADE_UP = {
    "AWS::KMS::Key": KEY,
    "AWS::EC2::Subnet": "subnet-0123456789abcdef0",
    "AWS::EC2::SecurityGroup": "sg-0123456789abcdef0",
    "AWS::SageMaker::MlflowApp": f"{OWN}:mlflow-app/app-0123456789AB",
    "AWS::BedrockAgentCore::Runtime": RUNTIME,
    "AWS::IAM::Role": f"arn:aws:iam::{ACCOUNT}:role/job",
}
"""What AWS would answer for a resource of a type."""


def settings_of(target: str, customization: Mapping[str, Any], **more: Any) -> Any:
    context = json.loads((ROOT / "cdk.json").read_text())["context"]
    context |= {"env": "dev", "target": target, "adapter": "sop"}
    context["environments"]["dev"] |= {"customization": customization, **more}
    return load(context.get, ROOT, ACCOUNT)


def build(target: str, customization: Mapping[str, Any], packs: bool = False) -> "Room":
    """The room, with a key and a network made by theirs; without the target, which is of no matter here."""
    import aws_cdk as cdk
    import cdk_nag

    from infra.customization import Customization
    from infra.foundation import Foundation
    from infra.names import Names
    from infra.network import Network
    from infra.stacks import stack
    from infra.targets.contract import Agent

    settings = settings_of(target, customization)
    app = cdk.App(context=json.loads((ROOT / "cdk.json").read_text())["context"])
    key = Foundation(stack(app, settings, "foundation"), settings=settings).key
    network = Network(stack(app, settings, "network"), settings=settings, key=key)
    forwarder = Agent(forwarder_arn=Names(settings).function_arn("forwarder"))
    Customization(
        stack(app, settings, "customization"),
        settings=settings,
        key=key,
        agent=forwarder if settings.queued else Agent(runtime_arn=RUNTIME, endpoint="v3"),
        network=network,
        root=ROOT,
    )
    if packs:
        names = ("AwsSolutions", "NIST80053R5", "HIPAASecurity", "PCIDSS321", "Serverless")
        cdk.Validations.of(app).add_plugins(*(getattr(cdk_nag, f"{name}Checks")(app) for name in names))
    stacks = {each.stack_name: each.template for each in app.synth().stacks}
    return Room(stacks, f"{settings.name}-customization")


class Room:
    """The synthesized stacks, and values with the ids that AWS would have made up."""

    def __init__(self, stacks: Mapping[str, Template], stack: str) -> None:
        self.stacks, self.template = stacks, stacks[stack]

    def of(self, kind: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.resolved(resources(self.template, kind))
        return found

    def statements(self, policy: str) -> list[dict[str, Any]]:
        """Of the one managed policy whose description contains a word."""
        (found,) = [each for each in self.of(POLICY) if policy in each["Properties"]["Description"]]
        statements: list[dict[str, Any]] = found["Properties"]["PolicyDocument"]["Statement"]
        return statements

    def document(self, kind: str) -> dict[str, Any]:
        (found,) = [p["Properties"] for p in self.of(PARAMETER) if p["Properties"]["Name"].endswith(kind)]
        document: dict[str, Any] = json.loads(found["Value"])
        return document

    def output(self, name: str) -> Any:
        return self.resolved(self.template["Outputs"][name]["Value"])

    def resolved(self, value: Any, template: Template | None = None) -> Any:
        template = template or self.template
        if isinstance(value, list):
            return [self.resolved(item, template) for item in value]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((function, argument),) = value.items()
            if function == "Fn::Join":
                return argument[0].join(self.resolved(argument[1], template))
            if function == "Fn::ImportValue":
                return self._imported(argument)
            if function in ("Fn::GetAtt", "Ref"):
                return self._made_up(argument if function == "Ref" else argument[0], template)
        return {key: self.resolved(item, template) for key, item in value.items()}

    def _imported(self, name: str) -> Any:
        for template in self.stacks.values():
            for output in template.get("Outputs", {}).values():
                if output.get("Export", {}).get("Name") == name:
                    return self.resolved(output["Value"], template)
        raise AssertionError(f"nobody exports {name}")

    def _made_up(self, logical_id: str, template: Template) -> str:
        kind = template["Resources"][logical_id]["Type"] if logical_id in template["Resources"] else ""
        return MADE_UP.get(kind, f"<{logical_id}>")


@cache
def _cached(target: str, customization: str) -> Room:
    return build(target, json.loads(customization))


def room(target: str = "fargate", **customization: Any) -> Room:
    return _cached(target, json.dumps(customization))


def listed(value: Any) -> list[str]:
    return value if isinstance(value, list) else [value]


def allowing(statements: list[dict[str, Any]], action: str) -> list[dict[str, Any]]:
    return [each for each in statements if action in listed(each["Action"])]
