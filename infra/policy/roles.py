"""A role: who may be it, and one managed policy that says all that it may do."""

from collections.abc import Sequence

from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.policy.acknowledgments import acknowledge_wildcards


def role(
    scope: Construct,
    id_: str,
    *,
    trusted: iam.IPrincipal,
    statements: Sequence[iam.PolicyStatement],
    description: str,
    wildcards: dict[str, str] | None = None,
    name: str | None = None,
) -> iam.Role:
    """A role whose permissions are a managed policy of its own, as the compliance packs ask for.

    `wildcards` gives, for each resource or action with a `*` in it, the reason for the `*`; `make synth`
    refuses one without.
    """
    policy = iam.ManagedPolicy(scope, f"{id_}Policy", description=description, statements=list(statements))
    acknowledge_wildcards(policy, wildcards or {})
    # The role names the policy, and not the other way round: what can assume the role can then do its work.
    return iam.Role(
        scope, id_, assumed_by=trusted, description=description, role_name=name, managed_policies=[policy]
    )
