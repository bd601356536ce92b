"""What a caller reads: the documents in SSM parameters, and everything in the stack's outputs."""

from collections.abc import Mapping

import aws_cdk as cdk
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from infra.customization.documents import Document
from infra.names import Names
from infra.settings import Deployment


def publish(
    scope: Construct, settings: Deployment, documents: Mapping[str, Document], outputs: Mapping[str, str]
) -> None:
    """`/<name>/job/training`, `/<name>/job/evaluation`, and an output each; further outputs as they are."""
    stack = cdk.Stack.of(scope)
    for kind, document in documents.items():
        made = ssm.CfnParameter(
            scope,
            f"{kind.title()}Document",
            name=parameter(settings, kind),
            description=f"JobConfigDocument ({kind}) of {settings.name}",
            type="String",
            value=stack.to_json_string(document),
            # Standard ends at 4 KiB, which a document with every hyperparameter can pass.
            tier="Intelligent-Tiering",
        )
        _output(stack, f"{kind.title()}JobConfigDocument", made.attr_value)
    for name, value in outputs.items():
        _output(stack, name, value)


def parameter(settings: Deployment, kind: str) -> str:
    return f"/{settings.name}/job/{kind}"


def parameter_arn(settings: Deployment, kind: str) -> str:
    return Names(settings).arn("ssm", f"parameter{parameter(settings, kind)}")


def _output(stack: cdk.Stack, name: str, value: str) -> None:
    # At the stack, not at the construct: its logical id is the name that callers read.
    cdk.CfnOutput(stack, name, value=value)
