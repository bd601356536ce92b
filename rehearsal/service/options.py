"""What one instance of the stand-in is started with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from rehearsal.service.faults import Faults
from rehearsal.service.lambda_api import LambdaTarget

REGION = "us-west-2"
ACCOUNT = "111122223333"
"""The account number that AWS documentation uses for examples."""


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Options of `mtrl service`. The host is always loopback: there is no real authentication here."""

    state_dir: Path
    port: int = 0
    region: str = REGION
    account: str = ACCOUNT
    seed: int = 0
    policy: str = "tiny"
    """`tiny`, `tiny:CHECKPOINT`, `scripted:FILE`, `openai:URL` or `bedrock:MODEL`."""
    seed_by: Literal["row", "prompt"] = "row"
    """What a rollout's draws depend on besides the seed: where its prompt stands in the data set, or what it
    says. With `prompt`, a part of a data set is played as it is in the whole."""
    max_concurrency: int | None = None
    """At most so many rollouts at a time, whatever `rollout_max_concurrency` (at least 32) says."""
    agents: Mapping[str, str] = field(default_factory=dict)
    """Agent runtime ARN, or `*` for any, to the URL that is invoked for it."""
    forwarder: Path | None = None
    """The handler file that plays every CustomAgentLambdaConfig."""
    function: LambdaTarget | None = None
    """The deployed function that plays it instead."""
    faults: Faults = field(default_factory=Faults)
    retry_ids: Literal["reuse", "renew"] = "renew"
    """Whether a retried rollout keeps its id; what the service does is not documented."""
    fail_on: frozenset[str] = frozenset({"no-sample"})
    """What fails a whole job: `no-sample` (as the service does), `failed`, `failed-unsampled`, `lost`."""
