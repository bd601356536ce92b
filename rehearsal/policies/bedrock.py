"""A policy behind Amazon Bedrock: any model that the Converse API serves. It is not trained here.

Credentials, Region and endpoint are boto3's own (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL_BEDROCK_RUNTIME).
Converse takes no seed, so the same evaluation twice gives two samples.
"""

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from rehearsal.policies.base import PolicyError, Sampled
from rehearsal.policies.converse import from_converse, to_converse

MAX_CALLS = 96
"""As many as rollouts run at once."""
CONFIG = Config(
    read_timeout=300, max_pool_connections=MAX_CALLS, retries={"mode": "standard", "total_max_attempts": 2}
)


class BedrockPolicy:
    """Answers chat requests by `bedrock-runtime:Converse`, translated both ways."""

    def __init__(self, model: str) -> None:
        try:
            # boto3 itself reads AWS_DEFAULT_REGION and profiles; AWS_REGION is what all else here is set by.
            session = boto3.session.Session(region_name=os.environ.get("AWS_REGION"))
            self._client = session.client("bedrock-runtime", config=CONFIG)
        except (BotoCoreError, ValueError) as error:
            raise PolicyError(f"Bedrock cannot be used: {error} Set AWS_REGION and credentials.") from None
        self._model = model
        # boto3 blocks, and the loop's own executor has only a few threads.
        self._threads = ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="bedrock")

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        """See `ServedPolicy.sample`. The seed has no effect."""
        call = to_converse(request)
        answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._converse, call)
        return from_converse(answer)

    async def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _converse(self, call: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            answer: Mapping[str, Any] = self._client.converse(modelId=self._model, **call)
        except ClientError as error:
            status = int(error.response["ResponseMetadata"].get("HTTPStatusCode", 500))
            raise PolicyError(f"Bedrock refused {self._model}: {error}", status=status) from None
        except BotoCoreError as error:
            raise PolicyError(f"Bedrock cannot be used for {self._model}: {error}") from None
        return answer
