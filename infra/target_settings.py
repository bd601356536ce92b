"""The settings of each target: a tagged union, one class a kind (a leaf, as settings.py)."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

STOP_TIMEOUT_LIMIT_SECONDS = 120
"""Fargate's limit; CDK deploys more in silence, and ECS then refuses the task."""
SPOT_NOTICE_SECONDS = 120
"""From the notice to the end, on EC2 and EKS alike; on Fargate `stop_timeout` cannot be longer anyway."""
HOOK_LIMIT_SECONDS, HOOK_SPARE_SECONDS = 7200, 60
"""A lifecycle hook of Auto Scaling waits no longer; and ours waits a little longer than the worker drains."""
FARGATE_MEMORY_MB = {
    256: (512, 1024, 2048),
    512: (1024, 2048, 3072, 4096),
    1024: tuple(range(2048, 8193, 1024)),
    2048: tuple(range(4096, 16385, 1024)),
    4096: tuple(range(8192, 30721, 1024)),
}
RoleArn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/.+$")]
GravitonType = Annotated[str, StringConstraints(pattern=r"^[a-z]+[0-9]+g[a-z]*\.[a-z0-9-]+$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Workers(_Settings):
    """How many workers there are; each takes `adapter.max_concurrency` rollouts at once."""

    min: int = Field(default=1, ge=0, le=100)
    """Kept while nothing is waiting and nothing is in flight; 0 costs a cold start on the first rollout."""
    max: int = Field(default=4, ge=1, le=100)
    """The most there may be; x `adapter.max_concurrency` bounds the rollouts in play."""
    spot_share: float = Field(default=0.0, ge=0.0, le=1.0)
    """The part of the workers above the first that runs on Spot capacity."""
    idle_minutes: int = Field(default=15, ge=5, le=240)
    """Without a message waiting or in flight for so long, workers go back to `min`."""

    @model_validator(mode="after")
    def _ordered(self) -> "Workers":
        if self.min > self.max:
            raise ValueError(f"workers.min ({self.min}) is above workers.max ({self.max})")
        return self

    def check_grace(self, name: str, seconds: int) -> None:
        """A worker that believes in more time than there is neither hands back nor seals."""
        if self.spot_share > 0 and seconds > SPOT_NOTICE_SECONDS:
            raise ValueError(
                f"{name}: Spot takes its capacity back {SPOT_NOTICE_SECONDS} s after the notice, so with "
                f"workers.spot_share above 0 it is at most {SPOT_NOTICE_SECONDS}, not {seconds}"
            )


class Fargate(_Settings):
    kind: Literal["fargate"] = "fargate"
    workers: Workers = Workers()
    cpu: int = 512
    """1024 are one vCPU."""
    memory_mb: int = 1024
    """Fargate takes certain pairs with `cpu`."""
    stop_timeout: int = Field(default=120, ge=30)
    """Seconds from SIGTERM to SIGKILL; the drain ends inside it."""
    cluster_name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9_-]{1,255}$")
    """An ECS cluster to adopt; it must have the FARGATE and FARGATE_SPOT capacity providers."""

    @model_validator(mode="after")
    def _possible(self) -> "Fargate":
        if self.stop_timeout > STOP_TIMEOUT_LIMIT_SECONDS:
            raise ValueError(
                f"stop_timeout: Fargate takes at most {STOP_TIMEOUT_LIMIT_SECONDS} s, not {self.stop_timeout}"
            )
        accepted = FARGATE_MEMORY_MB.get(self.cpu)
        if accepted is None:
            raise ValueError(f"cpu: Fargate takes {', '.join(map(str, FARGATE_MEMORY_MB))}, not {self.cpu}")
        if self.memory_mb not in accepted:
            near = min(accepted, key=lambda memory: abs(memory - self.memory_mb))
            raise ValueError(
                f"memory_mb: with cpu {self.cpu} Fargate does not take {self.memory_mb}; nearest: {near}"
            )
        return self


class Keda(_Settings):
    """KEDA scales the Deployment on the queue."""

    mode: Literal["install", "adopt"] = "install"
    """Whether the chart is installed, or the cluster has KEDA already."""
    chart_repository: str | None = Field(default=None, pattern=r"^(https|oci)://\S+$")
    """A mirror of the chart's repository; default: the project's own."""
    image_registry: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9.:/-]*$")
    """A mirror of the images' registry; default: the project's own."""
    namespace: str = Field(default="keda", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Where an installed KEDA lives."""
    service_account: str = Field(default="keda-operator", pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    """Of an installed KEDA's operator."""
    operator_role_arn: RoleArn | None = None
    """The AWS role of an adopted KEDA's operator: it may take on a role that reads the queue's figures."""

    @model_validator(mode="after")
    def _adoption(self) -> "Keda":
        if self.mode == "adopt" and self.operator_role_arn is None:
            raise ValueError("an adopted KEDA needs operator_role_arn, the AWS role of its operator")
        if self.mode == "adopt" and (self.chart_repository or self.image_registry):
            raise ValueError("chart_repository and image_registry are for mode 'install'")
        if self.mode == "install" and self.operator_role_arn is not None:
            raise ValueError(
                "operator_role_arn is for mode 'adopt'; an installed KEDA gets a role of its own"
            )
        return self


class Eks(_Settings):
    kind: Literal["eks"] = "eks"
    workers: Workers = Workers()
    cpu: str = Field(default="500m", pattern=r"^([0-9]+m|[0-9]+(\.[0-9]+)?)$")
    """What a Pod requests; there is no limit."""
    memory: str = Field(default="1Gi", pattern=r"^[0-9]+(Mi|Gi)$")
    """What a Pod requests, and its limit."""
    grace_seconds: int = Field(default=120, ge=30, le=3600)
    """terminationGracePeriodSeconds; the drain ends inside it. At most 120 with `workers.spot_share`."""
    version: Literal["1.34", "1.35"] = "1.35"
    """Within one minor version of the kubectl that applies the manifests (1.35)."""
    compute: Literal["auto", "managed"] = "auto"
    """Auto Mode with a NodePool of its own for arm64, or a managed node group."""
    instance_types: tuple[GravitonType, ...] = Field(default=("m7g.large",), min_length=1)
    """Of a managed node group; arm64 as everything here."""
    nodes: int = Field(default=2, ge=1, le=100)
    """Of a managed node group, whose size nothing here changes: enough of them for `workers.max`."""
    namespace: str | None = Field(default=None, pattern=r"^[a-z0-9]([a-z0-9-]{0,55}[a-z0-9])?$")
    """Of this deployment alone, which makes and removes it. Default: the deployment's name."""
    log_shipper_image: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9._:/-]*(?::[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$"
    )
    """A mirror of the image that sends the log; default: AWS's public one."""
    cluster_name: str | None = Field(default=None, pattern=r"^[0-9A-Za-z][A-Za-z0-9_-]{0,99}$")
    """A cluster to adopt, with the fields below."""
    kubectl_role_arn: RoleArn | None = None
    """The role that applies manifests to an adopted cluster: an access entry makes it an administrator there,
    and Lambda may be it, in a VPC (docs/deployment.md)."""
    cluster_security_group_id: str | None = Field(default=None, pattern=r"^sg-[0-9a-f]{8,17}$")
    """The adopted cluster's own group, by which its API is reached."""
    admin_role_arns: tuple[RoleArn, ...] = ()
    """Roles that administer a created cluster by an access entry."""
    keda: Keda = Keda()

    @model_validator(mode="after")
    def _adoption(self) -> "Eks":
        given = [self.kubectl_role_arn, self.cluster_security_group_id]
        if self.cluster_name is not None and None in given:
            raise ValueError(
                "cluster_name needs kubectl_role_arn and cluster_security_group_id: nothing is looked up"
            )
        if self.cluster_name is None and any(given):
            raise ValueError(
                "kubectl_role_arn and cluster_security_group_id need cluster_name: they are for adoption"
            )
        if self.cluster_name is not None and self.admin_role_arns:
            raise ValueError("admin_role_arns are for a created cluster; an adopted one has its own")
        return self

    @model_validator(mode="after")
    def _capacity(self) -> "Eks":
        if self.compute == "managed" and self.workers.spot_share > 0:
            raise ValueError(
                "workers.spot_share: the managed node group is on demand; Spot needs compute 'auto'"
            )
        self.workers.check_grace("grace_seconds", self.grace_seconds)
        return self


class Ec2(_Settings):
    kind: Literal["ec2"] = "ec2"
    workers: Workers = Workers()
    instance_types: tuple[GravitonType, ...] = Field(
        default=("t4g.small", "t4g.medium", "m7g.medium"), min_length=1
    )
    """arm64 types, most wanted first; several let Spot choose."""
    ami_id: str | None = Field(default=None, pattern=r"^ami-[0-9a-f]{8,17}$")
    """An image to adopt; default: the newest Amazon Linux 2023 for arm64 at deployment."""
    volume_gb: int = Field(default=16, ge=8, le=1024)
    """The root volume, gp3, encrypted."""
    drain_seconds: int = Field(default=120, ge=30)
    """From the stop to the end of the instance; at most 120 with `workers.spot_share`, and 7140 without."""

    @model_validator(mode="after")
    def _drains(self) -> "Ec2":
        most = HOOK_LIMIT_SECONDS - HOOK_SPARE_SECONDS
        if self.drain_seconds > most:
            raise ValueError(
                f"drain_seconds: is at most {most}, not {self.drain_seconds}: the lifecycle hook waits "
                f"{HOOK_SPARE_SECONDS} s longer, and Auto Scaling lets it wait {HOOK_LIMIT_SECONDS} s"
            )
        self.workers.check_grace("drain_seconds", self.drain_seconds)
        return self


class AgentCore(_Settings):
    kind: Literal["agentcore"] = "agentcore"
    artifact: Literal["container", "code"] = "container"
    """A container image, or a zip of code that needs no image build."""
    network_mode: Literal["vpc", "public"] = "vpc"
    """Whether the runtime's traffic leaves by the VPC; a protected environment takes no other."""
    runtime_name: str | None = None
    """Default: the deployment's name with underscores."""
    idle_minutes: int = Field(default=15, ge=1, le=480)
    """A session that nothing invokes ends after it."""
    max_lifetime_minutes: int = Field(default=480, ge=1, le=480)
    """A session ends after it, whatever it does."""
    versions: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(1,), min_length=1)
    """The versions of the runtime that have an endpoint (`v1`, `v2`, …). Every deployment that changes the
    runtime makes a version; jobs are started on the highest listed one, and keep theirs."""
    tracing: bool = True
    """Whether sessions are traced in X-Ray."""

    @model_validator(mode="after")
    def _names(self) -> "AgentCore":
        if self.runtime_name is not None and not re.fullmatch(
            r"[a-zA-Z][a-zA-Z0-9_]{0,47}", self.runtime_name
        ):
            raise ValueError(
                f"runtime_name: '{self.runtime_name}' is no AgentCore name (a letter, then letters, "
                "digits and underscores, 48 at most)"
            )
        if len(set(self.versions)) < len(self.versions):
            raise ValueError("versions: one is listed twice")
        if self.idle_minutes > self.max_lifetime_minutes:
            raise ValueError("idle_minutes is above max_lifetime_minutes")
        return self


Target = Fargate | Eks | Ec2 | AgentCore
