"""Findings of the policy packs that are accepted, each at its resource with a reason of its own.

`docs/security.md` lists all of them; a test pins their number.
"""

from collections.abc import Mapping, Sequence

import aws_cdk as cdk
from constructs import IConstruct

NIST, HIPAA, PCI = "NIST.800.53.R5", "HIPAA.Security", "PCI.DSS.321"
SOLUTIONS, SERVERLESS = "AwsSolutions", "Serverless"


def acknowledge(construct: IConstruct, reason: str, *rules: tuple[str, str]) -> None:
    """Accept the findings of `rules`, pairs of pack and rule, at a construct and below it."""
    accepted = [cdk.Acknowledgment(id=f"{pack}::{pack}-{rule}", reason=reason) for pack, rule in rules]
    cdk.Validations.of(construct).acknowledge(*accepted)


def acknowledge_in(construct: IConstruct, reason: str, rule: str, packs: Sequence[str]) -> None:
    """Accept a rule that several packs share."""
    acknowledge(construct, reason, *((pack, rule) for pack in packs))


def acknowledge_wildcards(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Accept single wildcards of a policy, each an action or a resource ARN, with its reason."""
    for wildcard, reason in reasons.items():
        kind = "Resource" if wildcard == "*" or wildcard.startswith("arn:") else "Action"
        acknowledge(construct, reason, (SOLUTIONS, f"IAM5[{kind}::{wildcard}]"))
