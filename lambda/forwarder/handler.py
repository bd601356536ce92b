"""The forwarder: takes a rollout request from the service and puts it on the queue, in one short call.

It never waits for an episode. Lambda is billed by the millisecond, and an episode lasts minutes. What it
answers is what the service expects of a forwarder: `{}`, or `{"errorType", "errorMessage"}`.

Environment variables:
    MTRL_QUEUE_URL            the queue (required)
    MTRL_CLAIM_CHECK_BUCKET   where a request above 900 KiB is put; without it such a request is refused
    MTRL_CLAIM_CHECK_PREFIX   key prefix there (default `claim-checks/`)
    MTRL_JOB_NAME_PREFIX      jobs whose name starts otherwise are refused
    MTRL_ACCOUNT_ID           jobs of another account are refused; AWS_REGION bounds the Region likewise

Only the runtime's own boto3 and the standard library are imported, so that the package stays a few
kilobytes and a cold start costs next to nothing beyond boto3.
"""

import hashlib
import json
import os
import re
import sys
import time
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

INLINE_LIMIT_BYTES = 900 * 1024
"""SQS takes 1 MiB with attributes; the rest is room for what a worker adds when it hands a message back."""
JOB_ARN = re.compile(
    r"arn:aws[a-z\-]*:sagemaker:([a-z0-9\-]+):([0-9]{12}):job/[a-zA-Z0-9_\-]+/([a-zA-Z0-9](?:-*[a-zA-Z0-9]){0,62})"
)
ROLLOUT_ID = re.compile(r"[!-~]{1,256}")

# A slow S3 or SQS is to be answered with an error, and not with a kill. So all of this is shorter than the
# function's timeout, of which infra/settings.py makes sure (FORWARDER_CALLS_SECONDS, a test compares them):
# a call   2 attempts x (1 s to connect + 3 s to answer) + 1 pause                     = 14 s
#          the pause is at most 1 s, and 5 s more if the answer asks for it (x-amz-retry-after)
# an event a call to S3 if the request is large, then one to SQS                       = 28 s
# More attempts are not needed here: the service itself repeats what is answered with an error.
_CONFIG = Config(connect_timeout=1, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
_clients: dict[str, Any] = {}


class Invalid(Exception):
    """The request is malformed; the message begins with the field."""


class Refused(Exception):
    """The request is for another account, Region or job prefix."""


def handler(event: Any, context: object) -> dict[str, str]:
    """Validate, stamp, enqueue, answer `{}`."""
    received_at = time.time()
    try:
        request = _unwrapped(event)
        job_name, rollout_id = _checked(request)
        _enqueue(request, job_name, rollout_id, received_at)
    except Invalid as error:
        return _error("ValidationError", error)
    except Refused as error:
        return _error("AccessDenied", error)
    except (BotoCoreError, ClientError) as error:
        # The request may have arrived: the service's retry is then a duplicate, which the ledger knows.
        return _error("InternalServerError", error)
    except KeyError as error:
        return _error("InternalServerError", f"{error.args[0]} is not set on this function")
    return {}


def _unwrapped(event: Any) -> dict[str, Any]:
    if isinstance(event, dict) and isinstance(event.get("body"), str) and "metadata" not in event:
        try:
            event = json.loads(event["body"])
        except (ValueError, RecursionError) as error:
            raise Invalid(f"body: is not valid JSON: {error}") from None
    if not isinstance(event, dict):
        raise Invalid("body: must be a JSON object")
    return event


def _checked(request: dict[str, Any]) -> tuple[str, str]:
    """The job name and the rollout id of a request that a worker would take."""
    metadata = request.get("metadata")
    if not isinstance(metadata, dict):
        raise Invalid("metadata: must be a JSON object")
    prompt = request.get("prompt")
    if prompt is None and isinstance(request.get("instance"), dict):
        prompt = request["instance"].get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise Invalid("prompt: must be a non-empty string")
    arn = metadata.get("jobArn") or metadata.get("job_arn")
    match = JOB_ARN.fullmatch(arn) if isinstance(arn, str) else None
    if match is None:
        raise Invalid("metadata.jobArn: is not a SageMaker job ARN")
    rollout_id = next(
        (metadata[n] for n in ("rolloutId", "trajectoryId", "trajectory_id") if metadata.get(n)), None
    )
    if not isinstance(rollout_id, str) or not ROLLOUT_ID.fullmatch(rollout_id):
        raise Invalid("metadata.rolloutId: must be 1 to 256 printable ASCII characters without spaces")
    region, account, job_name = match.groups()
    if region != os.environ.get("AWS_REGION", region):
        raise Refused("metadata.jobArn: is of another Region than this forwarder")
    if account != os.environ.get("MTRL_ACCOUNT_ID", account):
        raise Refused("metadata.jobArn: is of another account than this forwarder")
    if not job_name.startswith(os.environ.get("MTRL_JOB_NAME_PREFIX", "")):
        raise Refused("metadata.jobArn: names a job outside of this forwarder's prefix")
    return job_name, rollout_id


def _enqueue(request: dict[str, Any], job_name: str, rollout_id: str, received_at: float) -> None:
    # received_at is ours alone: a request must not move its own deadline.
    message = {**request, "received_at": received_at}
    # ASCII escapes: SQS refuses some control characters, which JSON then carries as text.
    body = json.dumps(message, separators=(",", ":"))
    if len(body) > INLINE_LIMIT_BYTES:
        key = _claim_check(body, job_name, rollout_id)
        body = json.dumps({"claim_check": key, "metadata": request["metadata"], "received_at": received_at})
        if len(body) > INLINE_LIMIT_BYTES:
            raise Invalid("metadata: is too large")
    _client("sqs").send_message(QueueUrl=os.environ["MTRL_QUEUE_URL"], MessageBody=body)


def _claim_check(body: str, job_name: str, rollout_id: str) -> str:
    """Put the message into the bucket before the queue is told. The same rollout gets the same key."""
    bucket = os.environ.get("MTRL_CLAIM_CHECK_BUCKET")
    if not bucket:
        raise Invalid(f"prompt: the request has {len(body)} bytes, more than {INLINE_LIMIT_BYTES}")
    prefix = os.environ.get("MTRL_CLAIM_CHECK_PREFIX", "claim-checks/")
    key = f"{prefix}{job_name}/{hashlib.sha256(rollout_id.encode()).hexdigest()}.json"
    _client("s3").put_object(Bucket=bucket, Key=key, Body=body.encode(), ContentType="application/json")
    return key


def _client(service: str) -> Any:
    if service not in _clients:
        _clients[service] = boto3.client(service, config=_CONFIG)
    return _clients[service]


def _error(kind: str, problem: object) -> dict[str, str]:
    # The prompt is in no message: only field names, sizes and AWS's own words are.
    text = str(problem)[:500]
    sys.stdout.write(
        json.dumps({"level": "WARNING", "event": "not_forwarded", "errorType": kind, "error": text}) + "\n"
    )
    return {"errorType": kind, "errorMessage": text}
