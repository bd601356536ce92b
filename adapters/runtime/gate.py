"""The endpoint rule: nothing in a request decides where credentials go.

Every field of a request that could name another place is compared with this process's own settings,
before anything is signed. Traffic goes to the configured endpoint or to the Region's documented one,
never to the text in the request.
"""

from adapters.contract import RefusedError, RolloutRequest
from adapters.contract.request import JOB_ARN
from adapters.runtime.settings import Settings


def partition(region: str) -> str:
    """The AWS partition of a Region."""
    for prefix, name in (("cn-", "aws-cn"), ("us-gov-", "aws-us-gov"), ("us-iso", "aws-iso")):
        if region.startswith(prefix):
            return name
    return "aws"


def regional_hosts(region: str) -> tuple[str, ...]:
    """The Region's own Job Runtime hosts; the documented one first (botocore resolves the second)."""
    name = f"job-runtime.sagemaker.{region}"
    if region.startswith("cn-"):
        return f"{name}.api.amazonwebservices.com.cn", f"{name}.amazonaws.com.cn"
    return f"{name}.api.aws", f"{name}.amazonaws.com"


def job_runtime_endpoint(settings: Settings) -> str:
    """Where this process sends its Job Runtime traffic."""
    return settings.endpoint or f"https://{regional_hosts(settings.region)[0]}"


def check(request: RolloutRequest, settings: Settings) -> None:
    """Refuse a request that is not for this process.

    Raises:
        RefusedError: names the field.
    """
    arn = JOB_ARN.fullmatch(request.job_arn)
    if arn is None:
        raise RefusedError("metadata.jobArn", "is not a SageMaker job ARN")
    if request.region and request.region != settings.region:
        raise RefusedError("metadata.region", f"is not {settings.region}, which this adapter serves")
    if arn["region"] != settings.region or arn["partition"] != partition(settings.region):
        raise RefusedError("metadata.jobArn", f"is not of {settings.region}, which this adapter serves")
    if settings.account and arn["account"] != settings.account:
        raise RefusedError("metadata.jobArn", "is of another account than this adapter serves")
    if not arn["name"].startswith(settings.job_name_prefix):
        raise RefusedError("metadata.jobArn", f"names a job outside of {settings.job_name_prefix!r}*")
    if request.endpoint and not _is_own(request.endpoint, settings):
        raise RefusedError(
            "metadata.endpoint", f"is neither the configured endpoint nor one of {settings.region}'s own"
        )


def _is_own(endpoint: str, settings: Settings) -> bool:
    """Compared as text: what is not parsed cannot be parsed differently elsewhere."""
    own = {settings.endpoint}
    for host in regional_hosts(settings.region):
        own |= {f"https://{host}", f"https://{host}:443"}
    return endpoint.removesuffix("/") in own
