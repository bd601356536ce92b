"""The typed settings of one deployment: an environment, a target, an adapter (docs/deployment.md).

A leaf: pydantic and the standard library only. What CDK and CloudFormation would take in silence, and AWS
would refuse in the middle of a deployment, is refused here.
"""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from infra.hyperparameters import ROLLOUTS, refusals, unanswerable
from infra.seal_keys import seal_keys_problem
from infra.target_settings import AgentCore, Eks, RoleArn, Target

LOG_RETENTION_DAYS = (
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip
SERVICE_RETRIES = 10
"""The most retries of one rollout that a job may ask for (`rollout_max_retries`)."""
LEAST_IN_FLIGHT = 32
"""The lower bound of a job's `rollout_max_concurrency`."""
FORWARDER_CALLS_SECONDS = 28
"""What the forwarder's calls may take, by the sum in lambda/forwarder/handler.py; its clients take more."""

Arn = Annotated[str, StringConstraints(pattern=r"^arn:aws[a-z-]*:[a-z0-9-]+:[a-z0-9-]*:[0-9]*:.+$")]
BucketName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
Region = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(?:-[a-z]+)+-[0-9]$")]
Account = Annotated[str, StringConstraints(pattern=r"^[0-9]{12}$")]
UNKNOWN_ACCOUNT = "000000000000"
"""Stands for an account that was not given, so that all else can be looked at."""


class Settings(BaseModel):
    """What all parts share: nothing unknown is taken, nothing changes once read."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Buckets(Settings):
    """Buckets to adopt by name. One that is not named is created."""

    prompts: BucketName | None = None
    """Data sets: what a job reads."""
    outputs: BucketName | None = None
    """Model artifacts and metrics: what a job writes."""
    transcripts: BucketName | None = None
    """Archived transcripts of evaluations and of reward/score disagreements."""
    rollout_logs: BucketName | None = None
    """Rollout logs of interrupted rollouts, and claim checks of large requests."""
    access_logs: BucketName | None = None
    """Server access logs of the others."""


class Foundation(Settings):
    """What outlives every deployment of code: key, buckets, topic, ledger."""

    key_arn: Arn | None = None
    """A symmetric single-Region KMS key to adopt; its policy must hold docs/security.md's statements."""
    topic_arn: Arn | None = None
    """An SNS topic to adopt for alarms and job notifications."""
    ledger_table: str | None = Field(default=None, pattern=r"^[a-zA-Z0-9_.-]{3,255}$")
    """A DynamoDB table to adopt (partition key `rollout`, string; TTL on `expires_on`)."""
    buckets: Buckets = Buckets()
    transcript_days: int = Field(default=90, ge=1, le=3650)
    """How long archived transcripts are kept; gone 30 days later, because the bucket keeps versions."""
    rollout_log_days: int = Field(default=7, ge=1, le=365)
    """How long rollout logs and claim checks are kept; gone a day later."""


class Customization(Settings):
    """The SageMaker side: where models go, who runs jobs, what a job is started with."""

    base_model: str = Field(
        default="openai-reasoning-gpt-oss-20b", pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,99}$"
    )
    """The model's name in the public hub."""
    restricted_models: bool = False
    """Nova's model package groups must be of the managed kind `Restricted`."""
    accept_eula: bool = False
    """Whether the licence of the base model is accepted; most models refuse to be trained without."""
    job_role_arn: RoleArn | None = None
    """A job execution role to adopt."""
    caller_policy: bool = True
    """Whether to create the managed policy for whoever starts jobs."""
    mlflow_app_arn: Arn | None = None
    """An MLflow app to adopt."""
    output_group_arn: Arn | None = None
    """A model package group to adopt for trained models."""
    intermediate_group_arn: Arn | None = None
    """A model package group to adopt for checkpoints; not the one for trained models."""
    job_in_vpc: bool = False
    """Whether the job's own traffic to the agent stays in the VPC."""
    training: dict[str, object] = {}
    """Hyperparameters of the training document, by the service's names (infra/hyperparameters.py)."""
    evaluation: dict[str, object] = {}
    """Hyperparameters of the evaluation document, by the service's names."""

    @model_validator(mode="after")
    def _two_groups(self) -> "Customization":
        if self.output_group_arn and self.output_group_arn == self.intermediate_group_arn:
            raise ValueError(
                "output_group_arn and intermediate_group_arn must differ: the service refuses one for both"
            )
        if self.restricted_models != ("nova" in self.base_model.lower()):
            raise ValueError(
                "restricted_models must be true for Nova models and for no others; base_model is "
                f"'{self.base_model}'"
            )
        return self

    @model_validator(mode="after")
    def _hyperparameters(self) -> "Customization":
        problems = [*refusals("training", self.training), *refusals("evaluation", self.evaluation)]
        impossible = unanswerable(self.evaluation)
        if problems or impossible:
            raise ValueError("; ".join([*problems, *([impossible] if impossible else [])]))
        return self


class Network(Settings):
    """The VPC of adapter and job: created, or adopted by `vpc_id`."""

    vpc_id: str | None = Field(default=None, pattern=r"^vpc-[0-9a-f]{8,17}$")
    """The VPC to adopt; subnets and zones are then named too, because synthesis asks AWS nothing."""
    private_subnet_ids: tuple[Annotated[str, StringConstraints(pattern=r"^subnet-[0-9a-f]{8,17}$")], ...] = ()
    """Private subnets of an adopted VPC, in the order of `availability_zones`."""
    availability_zones: tuple[
        Annotated[str, StringConstraints(pattern=r"^[a-z]{2}(?:-[a-z]+)+-[0-9][a-z]$")], ...
    ] = ()
    """Two or more. Default: `a` and `b` of the Region, which not every account has."""
    cidr: str = Field(default="10.64.0.0/20", pattern=r"^(\d{1,3}\.){3}\d{1,3}/(1[6-9]|2[0-4])$")
    """The IPv4 range of a created VPC, /16 to /24."""
    egress: Literal["nat", "ipv6_egress_only"] = "nat"
    """The way to the Job Runtime, for which no interface endpoint is known."""
    nat_gateways: int = Field(default=1, ge=1, le=6)
    """NAT gateways of a created VPC; one a zone survives the loss of a zone."""
    interface_endpoints: bool = True
    """Whether a created VPC gets the interface endpoints; they bill by the hour and zone."""

    @model_validator(mode="after")
    def _consistent(self) -> "Network":
        if self.vpc_id is None and self.private_subnet_ids:
            raise ValueError("private_subnet_ids are given without vpc_id: name the VPC they are in")
        if self.vpc_id is not None:
            if len(self.private_subnet_ids) < 2:
                raise ValueError("vpc_id needs private_subnet_ids, two or more in different zones")
            if len(self.private_subnet_ids) != len(self.availability_zones):
                raise ValueError(
                    "private_subnet_ids and availability_zones must be of one length: one zone a subnet"
                )
        if self.availability_zones and len(set(self.availability_zones)) < 2:
            raise ValueError("availability_zones must name two different zones or more")
        return self._creatable() if self.vpc_id is None else self

    def _creatable(self) -> "Network":
        zones = len(set(self.availability_zones)) or 2
        if self.egress == "nat" and self.nat_gateways > zones:
            raise ValueError(f"nat_gateways ({self.nat_gateways}) is above the number of zones ({zones})")
        if self.egress == "ipv6_egress_only" and not self.interface_endpoints:
            raise ValueError(
                "interface_endpoints must be true with egress ipv6_egress_only: most AWS APIs answer their "
                "usual names by IPv4 alone"
            )
        return self


class Intake(Settings):
    """The forwarder and its queue; unused by AgentCore, which the service invokes itself."""

    memory_mb: int = Field(default=256, ge=128, le=10240)
    """Of the forwarder; CPU comes with it."""
    timeout_seconds: int = Field(default=35, ge=FORWARDER_CALLS_SECONDS + 4, le=60)
    """Longer than the forwarder's own calls may take (28 s): it answers before it is killed."""
    reserved_concurrency: int | None = Field(default=None, ge=1, le=1000)
    """Concurrency kept for the forwarder; a service keeps up to 96 rollouts in flight."""
    max_receive_count: int = Field(default=100, ge=50, le=1000)
    """High, because a hand-back counts as a receive: the worker itself buries poison, by attempts."""


class Adapter(Settings):
    """The adapter: which environment it serves, and how."""

    environment: str = Field(pattern=r"^[a-z][a-z0-9_]{0,20}$")
    """The environment, by entry-point name."""
    path: str | None = None
    """The folder of an environment that is kept outside of adapters/environments."""
    image_uri: str | None = Field(
        default=None, pattern=r"^[a-z0-9][a-z0-9._:/-]*(?::[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$"
    )
    """A container image to adopt instead of building one; with a tag or, better, a digest."""
    base_image: str | None = Field(default=None, pattern=r"^[a-z0-9][a-z0-9._:/-]*(?:@sha256:[0-9a-f]{64})?$")
    """The Python image to build on; a platform team's own, best by digest."""
    pip_conf: str | None = None
    """A pip.conf with a private index, from the app's folder; a build secret, so it is in no layer."""
    max_concurrency: int = Field(default=96, ge=1, le=2000)
    """Rollouts at once in one worker."""
    budget_seconds: int = Field(default=600, ge=60, le=11 * 3600)
    """The job's `rollout_timeout`. At most 11 h: SQS hides a message for 12 h."""
    max_attempts: int = Field(default=5, ge=1, le=100)
    """Claims of one rollout after which it is buried in the dead-letter queue."""
    on_crash: Literal["fail", "leave", "resume"] = "fail"
    """A rollout whose worker died is sealed `failed`, left to the service, or resumed from its log."""
    context_tokens: int | None = Field(default=None, ge=512)
    """The context of the base model: checked at start against turns x tokens, if given."""
    seal_keys: str | None = None
    """The key ring of sealed data sets: `secretsmanager:ARN`, or `kms:/path.json` with wrapped keys."""
    seal_key_arn: str | None = None
    """The KMS key that wrapped them, or that encrypts the secret if that is not AWS's own key."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Of the adapter's log lines; metrics are written at every level."""
    variables: dict[str, str] = {}
    """Further variables, for the environment itself; secrets do not belong here."""

    @model_validator(mode="after")
    def _variables(self) -> "Adapter":
        own = f"MTRL_{self.environment.upper()}_"
        for name, value in self.variables.items():
            if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,99}", name):
                raise ValueError(f"variables: '{name}' is no variable name (capitals, digits, underscores)")
            if name.startswith(("MTRL_", "AWS_")) and not name.startswith(
                (own, "MTRL_MAX_TOOL", "MTRL_TOOL_")
            ):
                raise ValueError(
                    f"variables: '{name}' is set by the deployment; the environment's own begin with {own}"
                )
            if re.search(r"SECRET|PASSWORD|TOKEN|PRIVATE_KEY|API_KEY", name):
                raise ValueError(
                    f"variables: '{name}' looks like a secret; put its ARN here, and read it at run time"
                )
            if re.search(r"[\x00-\x1f\x7f]", value):  # systemd would read it as two variables, or as text
                raise ValueError(f"variables: '{name}' must be one line, without tabs and the like")
        return self


class Observability(Settings):
    """What is watched, and how long it is kept."""

    log_retention_days: int = 30
    """CloudWatch Logs takes certain values only."""
    alarm_emails: tuple[Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")], ...] = ()
    """Subscribed to the topic, if the topic is created here."""
    stall_minutes: int = Field(default=30, ge=5, le=1440)
    """A job without progress for so long is reported as stalled."""
    daily_token_budget: int | None = Field(default=None, ge=1)
    """Billable tokens a day above which an alarm is raised."""
    oldest_message_seconds: int | None = Field(default=None, ge=60, le=86400)
    """Age of the oldest unfinished rollout, waiting or in play, above which an alarm is raised.
    Default: 0.8 of the adapter's budget, which an episode that is played at once should not use up."""
    quick_gauges: bool = True
    """Whether waiting work is looked for every 20 s, and not once a minute: about 6 dollars a month."""
    runbooks_url: str | None = Field(default=None, pattern=r"^https://[^\s()]+[^\s()/]$")
    """Where the repository can be read, without a slash at the end: alarms and dashboard then link to it."""

    @model_validator(mode="after")
    def _retention(self) -> "Observability":
        if self.log_retention_days not in LOG_RETENTION_DAYS:
            near = min(LOG_RETENTION_DAYS, key=lambda days: abs(days - self.log_retention_days))
            raise ValueError(
                f"log_retention_days: CloudWatch knows no {self.log_retention_days}; nearest: {near}"
            )
        return self


class Deployment(Settings):
    """One deployment. Its `name` begins every name that is given to a resource."""

    env: str = Field(pattern=r"^[a-z][a-z0-9]{0,7}$")
    account: Account
    """The account id. Default: that of the credentials; pinned, others are refused."""
    region: Region
    """The Region of everything."""
    prefix: str = Field(default="mtrl", pattern=r"^[a-z][a-z0-9]{0,9}$")
    """Begins every name; a different one keeps two teams in one account apart."""
    protect: bool = True
    """Whether what holds data is retained and stacks resist deletion."""
    tags: dict[str, str] = {}
    """On every resource that takes tags."""
    permissions_boundary: str | None = Field(default=None, pattern=r"^[\w+=,.@/-]{1,128}$")
    """The name of a managed policy that bounds every role."""
    bootstrap_qualifier: str | None = Field(default=None, pattern=r"^[a-z0-9]{1,10}$")
    """The qualifier of a CDK bootstrap that is not the default one."""
    foundation: Foundation = Foundation()
    customization: Customization = Customization()
    network: Network = Network()
    intake: Intake = Intake()
    observability: Observability = Observability()
    adapter: Adapter
    target: Annotated[Target, Field(discriminator="kind")]

    @model_validator(mode="after")
    def _possible(self) -> "Deployment":
        checks = (_zones, _capacity, _protected, _timeouts, _addresses, _cluster, _seal_keys)
        problems = [problem for check in checks if (problem := check(self))]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def name(self) -> str:
        """For example `mtrl-dev-sop`; at most 41 characters of `[a-z0-9-]`."""
        return f"{self.prefix}-{self.env}-{self.adapter.environment.replace('_', '-')}"

    @property
    def job_prefix(self) -> str:
        """Jobs of this deployment begin with it; roles and adapter refuse others."""
        return f"{self.name}-"

    @property
    def queued(self) -> bool:
        """Whether rollouts come through the forwarder's queue."""
        return not isinstance(self.target, AgentCore)

    @property
    def keeps_a_worker(self) -> bool:
        """Whether there is always one that should take what waits."""
        return not isinstance(self.target, AgentCore) and self.target.workers.min > 0

    @property
    def quick_gauges(self) -> bool:
        """Where the first worker must start anyway, seconds do not matter."""
        return self.observability.quick_gauges and self.keeps_a_worker

    @property
    def zones(self) -> tuple[str, ...]:
        return self.network.availability_zones or (f"{self.region}a", f"{self.region}b")

    @property
    def oldest_message_seconds(self) -> int:
        return self.observability.oldest_message_seconds or round(0.8 * self.adapter.budget_seconds)

    @property
    def message_retention_seconds(self) -> int:
        """A message outlives every retry of the service; the bounds above keep it below SQS's 14 days."""
        return max(3600, self.adapter.budget_seconds * (SERVICE_RETRIES + 1))


def _zones(settings: Deployment) -> str | None:
    foreign = [zone for zone in settings.network.availability_zones if zone[:-1] != settings.region]
    return f"network.availability_zones: {foreign[0]} is not in region {settings.region}" if foreign else None


def _capacity(settings: Deployment) -> str | None:
    target = settings.target
    if isinstance(target, AgentCore):
        return None
    if target.workers.max * settings.adapter.max_concurrency < LEAST_IN_FLIGHT:
        return (
            f"workers.max x adapter.max_concurrency is below {LEAST_IN_FLIGHT}, the least that a job "
            "keeps in flight"
        )
    return None


def _protected(settings: Deployment) -> str | None:
    """Protection is what makes an environment production, whatever it is called."""
    if settings.protect and isinstance(settings.target, AgentCore) and settings.target.network_mode != "vpc":
        return "network_mode: a protected environment runs AgentCore in the VPC; set it to 'vpc'"
    return None


def _timeouts(settings: Deployment) -> str | None:
    """The adapter's deadline is the job's: a rollout that one of them has given up helps nobody."""
    budget, custom = settings.adapter.budget_seconds, settings.customization
    for document, values in (("training", custom.training), ("evaluation", custom.evaluation)):
        given = values.get("rollout_timeout", budget)
        if str(given) != str(budget):
            return (
                f"customization.{document}.rollout_timeout: is {given}, but adapter.budget_seconds is "
                f"{budget}; set the latter alone, the documents take it from there"
            )
    least = ROLLOUTS["rollout_timeout"].low
    if least is not None and budget < least:
        return f"adapter.budget_seconds: {budget} is below {least:g}, the least rollout_timeout of a job"
    return None


def _seal_keys(settings: Deployment) -> str | None:
    adapter, account = settings.adapter, settings.account
    known = account if account != UNKNOWN_ACCOUNT else None
    return seal_keys_problem(adapter.seal_keys, adapter.seal_key_arn, settings.region, known)


def _addresses(settings: Deployment) -> str | None:
    """Pods of an IPv4 cluster have no IPv6 address, whatever their nodes have."""
    if isinstance(settings.target, Eks) and settings.network.egress == "ipv6_egress_only":
        return (
            "network.egress: the Pods of target 'eks' have IPv4 addresses only, and no way out by IPv6; "
            "set it to 'nat'"
        )
    return None


def _cluster(settings: Deployment) -> str | None:
    """Nothing in a created VPC reaches a cluster that is in another one."""
    target = settings.target
    if isinstance(target, Eks) and target.cluster_name is not None and settings.network.vpc_id is None:
        return f"network.vpc_id: cluster '{target.cluster_name}' is in a VPC already; name that VPC"
    return None
