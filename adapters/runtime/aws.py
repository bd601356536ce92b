"""botocore clients for what an adapter calls besides the Job Runtime: boto3 is not among its dependencies."""

from typing import Any

CONNECT_SECONDS, READ_SECONDS = 3, 15
"""A read outlasts a long poll."""
CONNECTIONS = 16


def aws_client(service: str, region: str) -> Any:
    """A client of the default credentials; imported late, because it takes a while and not all need it."""
    from botocore.config import Config
    from botocore.session import get_session

    config = Config(
        connect_timeout=CONNECT_SECONDS,
        read_timeout=READ_SECONDS,
        max_pool_connections=CONNECTIONS,
        retries={"mode": "standard", "total_max_attempts": 4},
    )
    return get_session().create_client(service, region_name=region, config=config)
