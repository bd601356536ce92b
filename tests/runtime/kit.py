"""An adapter's parts around a fake environment and a fake Job Runtime, in this process."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from adapters.contract import AgentLoop, Environment, RolloutRequest
from adapters.loops.tool_loop import ToolLoop
from adapters.runtime.archive import Archive
from adapters.runtime.auth import Authorizer
from adapters.runtime.fakes import FakeEnvironment, FakeJobRuntime
from adapters.runtime.job_runtime import JobRuntime, open_session
from adapters.runtime.ledger import Ledger, MemoryLedger
from adapters.runtime.log_store import LogStore
from adapters.runtime.rollout import Rollouts
from adapters.runtime.settings import Settings
from adapters.runtime.telemetry import Telemetry

REGION = "us-west-2"
ACCOUNT = "111122223333"
JOB = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:job/AgentRFT/desk-1"
EVALUATION = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:job/AgentRFTEvaluation/desk-eval"
BASE = Settings.from_environ({"MTRL_ENVIRONMENT": "fake", "AWS_REGION": REGION, "MTRL_ACCOUNT_ID": ACCOUNT})


def wire(rollout_id: str = "r1", text: str = "hello", job: str = JOB, **more: Any) -> dict[str, Any]:
    """A rollout request as the service sends it."""
    prompt = json.dumps({"id": "t1", "environment": "fake", "input": {"text": text}, "target": "TARGET-7"})
    return {"prompt": prompt, "metadata": {"jobArn": job, "rolloutId": rollout_id}, **more}


def request(rollout_id: str = "r1", **more: Any) -> RolloutRequest:
    return RolloutRequest.from_wire(wire(rollout_id, **more))


class OpenAuthorizer:
    """Signs nothing; counts."""

    def __init__(self) -> None:
        self.signed = 0
        self.renewed = 0

    def at_once(self, *_: object) -> None:
        return None

    async def headers(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> dict[str, str]:
        self.signed += 1
        return {"Authorization": f"Bearer {self.renewed}"}

    def renew(self) -> None:
        self.renewed += 1


@dataclass
class Adapter:
    rollouts: Rollouts
    runtime: JobRuntime
    authorizer: OpenAuthorizer
    stream: io.StringIO
    delays: list[float] = field(default_factory=list)

    def log(self, event: str) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in self.stream.getvalue().splitlines()]
        return [line for line in lines if line["event"] == event]

    def metrics(self) -> dict[str, Any]:
        (line,) = self.log("rollout")
        return line


@asynccontextmanager
async def adapter(
    service: FakeJobRuntime,
    environment: Environment | None = None,
    *,
    loop: AgentLoop | None = None,
    ledger: Ledger | None = None,
    archive: Archive | None = None,
    logs: LogStore | None = None,
    authorizer: Authorizer | None = None,
    **settings: Any,
) -> AsyncIterator[Adapter]:
    """Backoff is not slept but noted in `delays`; seconds of `settings` are real."""
    chosen = replace(BASE, endpoint=service.url, **settings)
    environment = environment or FakeEnvironment()
    own, stream, delays = OpenAuthorizer(), io.StringIO(), list[float]()

    async def sleep(seconds: float) -> None:
        delays.append(seconds)
        await asyncio.sleep(0.001)

    async with open_session(chosen.max_concurrency) as session:
        runtime = JobRuntime(
            session,
            service.url,
            authorizer or own,
            timeout=chosen.sample_timeout,
            uncertain_retries=chosen.uncertain_retries,
            sleep=sleep,
        )
        telemetry = Telemetry("mtrl-kit", environment.name, chosen.log_level, stream)
        rollouts = Rollouts(
            chosen,
            environment,
            loop or ToolLoop(),
            runtime,
            ledger or MemoryLedger(),
            telemetry,
            archive,
            logs,
        )
        yield Adapter(rollouts, runtime, own, stream, delays)
