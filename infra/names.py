"""What things are called, and their ARNs: one place, so that stacks know each other by name alone.

Names that a stack looks up in another one would become exports, which CloudFormation does not let go of while
anybody imports them. Only ids that AWS makes up (key, VPC, subnets) cross stacks that way.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from infra.settings import Deployment
from infra.target_settings import AgentCore

Noun = Literal["prompts", "outputs", "transcripts", "rollout_logs", "access_logs"]
JOB_CATEGORIES = ("AgentRFT", "AgentRFTEvaluation")
SUFFIXES = {"aws-cn": "amazonaws.com.cn", "aws-iso": "c2s.ic.gov", "aws-iso-b": "sc2s.sgov.gov"}


@dataclass(frozen=True, slots=True)
class Names:
    """The names of one deployment, adopted ones included."""

    settings: Deployment

    @property
    def partition(self) -> str:
        for beginning, partition in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-isob-", "aws-iso-b")):
            if self.settings.region.startswith(beginning):
                return partition
        return "aws-iso" if self.settings.region.startswith("us-iso-") else "aws"

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the deployment's account and Region."""
        return f"arn:{self.partition}:{service}:{self.settings.region}:{self.settings.account}:{resource}"

    def bucket(self, noun: Noun) -> str:
        """Bucket names are global: a digest of account and Region keeps them apart."""
        adopted: str | None = getattr(self.settings.foundation.buckets, noun)
        if adopted is not None:
            return adopted
        place = f"{self.settings.account}/{self.settings.region}/{self.settings.name}"
        return (
            f"{self.settings.name}-{noun.replace('_', '-')}-{hashlib.sha256(place.encode()).hexdigest()[:8]}"
        )

    def bucket_arn(self, noun: Noun) -> str:
        return f"arn:{self.partition}:s3:::{self.bucket(noun)}"

    @property
    def topic_arn(self) -> str:
        return self.settings.foundation.topic_arn or self.arn("sns", f"{self.settings.name}-notices")

    @property
    def ledger(self) -> str:
        return self.settings.foundation.ledger_table or f"{self.settings.name}-rollouts"

    @property
    def ledger_arn(self) -> str:
        return self.arn("dynamodb", f"table/{self.ledger}")

    @property
    def queue(self) -> str:
        return f"{self.settings.name}-rollouts"

    @property
    def dead_letters(self) -> str:
        return f"{self.settings.name}-dead-letters"

    def queue_url(self, queue: str) -> str:
        suffix = SUFFIXES.get(self.partition, "amazonaws.com")
        return f"https://sqs.{self.settings.region}.{suffix}/{self.settings.account}/{queue}"

    def function(self, noun: str) -> str:
        return f"{self.settings.name}-{noun}"

    def function_arn(self, noun: str) -> str:
        return self.arn("lambda", f"function:{self.function(noun)}")

    @property
    def adapter_log_group(self) -> str:
        """Of queue targets, each its own while a team moves between two; AgentCore names its group itself."""
        return f"/mtrl/{self.settings.name}/{self.settings.target.kind}"

    @property
    def runtime(self) -> str:
        """Of AgentCore, which takes letters, digits and underscores only."""
        target = self.settings.target
        adopted = target.runtime_name if isinstance(target, AgentCore) else None
        return adopted or self.settings.name.replace("-", "_")

    @property
    def runtime_log_groups(self) -> str:
        """How the names of the runtime's groups begin: an id is its name, a hyphen, and AWS's own part."""
        return f"/aws/bedrock-agentcore/runtimes/{self.runtime}-"

    @property
    def jobs(self) -> list[str]:
        """The jobs of this deployment, of both categories."""
        prefix = self.settings.job_prefix
        return [self.arn("sagemaker", f"job/{category}/{prefix}*") for category in JOB_CATEGORIES]
