"""The variables of an adapter (adapters/contract/variables.py), filled in for a deployment.

A test holds them against the contract: what an entrypoint requires is here, and nothing else is.
"""

from infra.names import Names
from infra.settings import Deployment

SEAL_SECONDS = 15
"""From the end of the drain to the kill: telemetry is written and connections are closed."""
HEALTH_FILE = "/tmp/mtrl-alive"  # noqa: S108 - the one writable folder of a read-only container


def common(settings: Deployment) -> dict[str, str]:
    """Of every entrypoint."""
    adapter = settings.adapter
    found = {
        "AWS_REGION": settings.region,
        "MTRL_ENVIRONMENT": adapter.environment,
        "MTRL_ACCOUNT_ID": settings.account,
        "MTRL_JOB_NAME_PREFIX": settings.job_prefix,
        "MTRL_MAX_CONCURRENCY": str(adapter.max_concurrency),
        "MTRL_ROLLOUT_BUDGET_SECONDS": str(adapter.budget_seconds),
        "MTRL_MAX_ATTEMPTS": str(adapter.max_attempts),
        "MTRL_ON_CRASH": adapter.on_crash,
        "MTRL_LOG_LEVEL": adapter.log_level,
        "MTRL_METRICS_NAMESPACE": settings.name,
        "MTRL_ARCHIVE_BUCKET": Names(settings).bucket("transcripts"),
    }
    if adapter.context_tokens is not None:
        found["MTRL_CONTEXT_TOKENS"] = str(adapter.context_tokens)
    if adapter.seal_keys is not None:
        found["MTRL_SEAL_KEYS"] = adapter.seal_keys
    return found | adapter.variables


def queue_worker(
    settings: Deployment, *, grace_seconds: int, health_file: str = HEALTH_FILE
) -> dict[str, str]:
    """Of the queue entrypoint, which must be gone `grace_seconds` after SIGTERM."""
    names = Names(settings)
    return common(settings) | {
        "MTRL_QUEUE_URL": names.queue_url(names.queue),
        "MTRL_DEAD_LETTER_URL": names.queue_url(names.dead_letters),
        "MTRL_LEDGER_TABLE": names.ledger,
        "MTRL_CLAIM_CHECK_BUCKET": names.bucket("rollout_logs"),
        "MTRL_ROLLOUT_LOG_BUCKET": names.bucket("rollout_logs"),
        "MTRL_HEALTH_FILE": health_file,
        "MTRL_DRAIN_SECONDS": str(grace_seconds - SEAL_SECONDS),
    }
