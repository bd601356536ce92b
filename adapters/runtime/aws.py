"""botocore clients for what an adapter calls besides the Job Runtime: boto3 is not among its dependencies."""

from typing import Any

from adapters.runtime.settings import SettingsError


def aws_client(
    service: str,
    region: str,
    *,
    connect: float = 3.0,
    read: float = 15.0,
    attempts: int = 4,
    connections: int = 16,
    endpoint: str | None = None,
) -> Any:
    """A client of the default credentials, made in some 100 ms. Times are seconds.

    The read timeout outlasts a long poll.

    Raises:
        SettingsError: the profile, the Region or an endpoint of the surroundings is none.
    """
    from botocore.config import Config  # late, because it takes a while and not all processes need it
    from botocore.exceptions import BotoCoreError
    from botocore.session import get_session

    config = Config(
        connect_timeout=connect,
        read_timeout=read,
        max_pool_connections=connections,
        retries={"mode": "standard", "total_max_attempts": attempts},
    )
    try:
        return get_session().create_client(service, region_name=region, endpoint_url=endpoint, config=config)
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(
            [
                f"No client for {service} can be made: {error} "
                "Look at AWS_REGION, AWS_PROFILE, AWS_ENDPOINT_URL and ~/.aws/config."
            ]
        ) from error
