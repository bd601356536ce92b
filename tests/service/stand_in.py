"""The stand-in for tests: the Job Runtime alone, or the whole service, with agents to play against it."""

import asyncio
import json
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import boto3
from aiohttp import web
from botocore.config import Config

from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from rehearsal.policies.base import Sampled
from rehearsal.service.app import running
from rehearsal.service.faults import Faults
from rehearsal.service.options import ACCOUNT, REGION, ServiceOptions
from rehearsal.service.state.trajectories import Trajectories, Trajectory
from rehearsal.service.wire.job_runtime import JobRuntimeWire

T = TypeVar("T")

ARN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:job/AgentRFT/a-job"
OWN = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}"
SIGNED = (
    f"AWS4-HMAC-SHA256 Credential=AKID/20260101/{REGION}/sagemaker/aws4_request, "
    f"SignedHeaders=host, Signature={'0' * 64}"
)
"""Well formed, which is all that the stand-in can check."""
DONE = ("Completed", "Failed", "Stopped")
SECONDS = 60.0

COLOURS = ("red", "green", "blue")
SYSTEM = (
    "Look the case up, then answer as <final_output>"
    '{"colour": "red | green | blue"}</final_output>, nothing else.'
)
TOOL = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "The colour of a case.",
        "parameters": {
            "type": "object",
            "properties": {"case_id": {"type": "string"}},
            "required": ["case_id"],
        },
    },
}


class LoopThread:
    """An event loop in a thread of its own, as a server has one."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever)
        self._thread.start()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(SECONDS)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


class Turns:
    """A policy that plays given turns, and keeps what it was asked."""

    def __init__(self, *turns: Mapping[str, Any]) -> None:
        self.turns = turns
        self.asked: list[Mapping[str, Any]] = []
        self.seeds: list[int] = []

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        self.asked.append(request)
        self.seeds.append(seed)
        message = self.turns[min(len(self.asked), len(self.turns)) - 1]
        return Sampled(message, "tool_calls" if message.get("tool_calls") else "stop", 7, 5)

    async def close(self) -> None:
        return None


class ServedRuntime(LoopThread):
    """The Job Runtime's routes over trajectories that a test opens itself."""

    def __init__(self, faults: Faults | None = None) -> None:
        super().__init__()
        self.trajectories = Trajectories()
        self.faults = faults or Faults()
        self.port = self.call(self._start())
        self.url = f"http://127.0.0.1:{self.port}"

    def open(self, policy: Any, name: str = "t-1") -> Trajectory:
        return self.trajectories.open(ARN, name, 11, policy)

    @property
    def counts(self) -> dict[str, int]:
        """Of the job; `trajectories` left out."""
        counts = dict(self.trajectories.counts.get(ARN, {}))
        counts.pop("trajectories", None)
        return counts

    def close(self) -> None:
        self.call(self._runner.cleanup())
        self.end()

    async def _start(self) -> int:
        app = web.Application()
        app.add_routes(JobRuntimeWire(self.trajectories, self.faults, REGION).routes())
        self._runner = web.AppRunner(app, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        port: int = self._runner.addresses[0][1]
        return port


def aws(service: str, url: str, **config: Any) -> Any:
    """A plain boto3 client without retries: a test wants to see the first answer."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="AKID",
        aws_secret_access_key="secret",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


@dataclass(slots=True)
class Rollout:
    """One rollout from the agent's side, over plain HTTP."""

    http: aiohttp.ClientSession
    endpoint: str
    payload: Mapping[str, Any]
    messages: list[Any] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.payload["metadata"]["rolloutId"])

    async def sample(self, **more: Any) -> dict[str, Any]:
        """One turn; the answer is appended to the conversation, verbatim."""
        inference = self.payload["inferenceParams"]
        body = {"messages": self.messages, "tools": [TOOL], "temperature": inference["temperature"], **more}
        status, told = await self.post("/sample", body, {TRAJECTORY_HEADER: self.id})
        assert status == 200, told
        message: dict[str, Any] = told["choices"][0]["message"]
        self.messages.append(message)
        return message

    async def complete(self, status: str = "ready") -> int:
        code, _ = await self.post("/complete-rollout", {"TrajectoryId": self.id, "Status": status})
        return code

    async def reward(self, *values: float) -> int:
        code, _ = await self.post("/update-reward", {"TrajectoryId": self.id, "Rewards": values})
        return code

    async def post(self, path: str, body: object, headers: Mapping[str, str] = {}) -> tuple[int, Any]:
        given = {"Authorization": SIGNED, JOB_ARN_HEADER: self.payload["metadata"]["jobArn"], **headers}
        async with self.http.post(self.endpoint + path, json=body, headers=given) as answer:
            return answer.status, await answer.json(content_type=None)


def opening(prompt: str) -> list[Any]:
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"case_id: {prompt}"}]


def results(message: Mapping[str, Any], prompt: str) -> list[Any]:
    """What the tool says to each call of a message."""
    colour = COLOURS[int(prompt) % len(COLOURS)]
    return [
        {"role": "tool", "tool_call_id": call["id"], "content": json.dumps({"colour": colour})}
        for call in message.get("tool_calls") or ()
    ]


def grade(message: Mapping[str, Any], prompt: str) -> float:
    """1 for the right answer in the right form, a little for the right colour."""
    text, colour = str(message.get("content") or ""), COLOURS[int(prompt) % len(COLOURS)]
    if text == f'<final_output>{{"colour": "{colour}"}}</final_output>':
        return 1.0
    return 0.25 if colour in text else 0.0


async def play(rollout: Rollout) -> None:
    """Two or three turns, tool calls among them, then a seal and a reward."""
    prompt = str(rollout.payload["prompt"])
    rollout.messages[:] = opening(prompt)
    for _ in range(3):
        message = await rollout.sample()
        told = results(message, prompt)
        if not told:
            break
        rollout.messages += told
    assert await rollout.complete() == 200
    assert await rollout.reward(grade(message, prompt)) == 200


Play = Callable[[Rollout], Awaitable[None]]


class AgentServer(LoopThread):
    """An agent container: POST /invocations plays one rollout, and answers when it is over."""

    def __init__(self, play: Play = play, endpoint: str = "") -> None:
        super().__init__()
        self.play = play
        self.payloads: list[dict[str, Any]] = []
        self.errors: list[BaseException] = []
        self._endpoint = endpoint
        self.url = self.call(self._start())

    def close(self) -> None:
        self.call(self._stop())
        self.end()

    async def _start(self) -> str:
        self._http = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application()
        app.router.add_post("/invocations", self._invoke)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._http.close()

    async def _invoke(self, request: web.Request) -> web.Response:
        payload = await request.json()
        self.payloads.append(payload)
        endpoint = self._endpoint or payload["metadata"]["endpoint"]
        try:
            await self.play(Rollout(self._http, endpoint, payload))
        except Exception as error:  # noqa: BLE001 - a test asks for it
            self.errors.append(error)
            return web.json_response({"message": repr(error)}, status=500)
        return web.json_response({})


class StandIn(LoopThread):
    """The whole service, in this process."""

    def __init__(self, state: Path, **options: Any) -> None:
        super().__init__()
        options = {"policy": "tiny", **options}
        self._context = running(ServiceOptions(state_dir=state, **options))
        self.url = self.call(self._context.__aenter__())
        self.sagemaker = aws("sagemaker", self.url)

    def close(self) -> None:
        self.sagemaker.close()
        self.call(self._context.__aexit__(None, None, None))
        self.end()

    def create(self, name: str, document: Mapping[str, Any], category: str = "AgentRFT") -> str:
        return create_job(self.sagemaker, name, document, category)

    def wait(self, name: str, category: str = "AgentRFT") -> dict[str, Any]:
        return wait_for_job(self.sagemaker, name, category)

    def counts(self, arn: str) -> dict[str, int]:
        async def get() -> Any:
            async with aiohttp.ClientSession() as http, http.get(self.url + "/_rehearsal/counts") as answer:
                return await answer.json()

        return dict(self.call(get()).get(arn, {}))


def create_job(client: Any, name: str, document: Mapping[str, Any], category: str = "AgentRFT") -> str:
    arn: str = client.create_job(
        JobName=name,
        RoleArn=f"arn:aws:iam::{ACCOUNT}:role/job",
        JobCategory=category,
        JobConfigSchemaVersion="1.0.0",
        JobConfigDocument=json.dumps(document),
    )["JobArn"]
    return arn


def describe(client: Any, name: str, category: str = "AgentRFT") -> dict[str, Any]:
    """DescribeJob, with the document parsed and two short cuts: `output` and `history`."""
    job: dict[str, Any] = client.describe_job(JobName=name, JobCategory=category)
    job["output"] = json.loads(job["JobConfigDocument"]).get("ServiceOutput", {})
    job["history"] = [step["Status"] for step in job["SecondaryStatusTransitions"]]
    return job


def wait_until(client: Any, name: str, category: str, ready: Callable[[dict[str, Any]], bool]) -> Any:
    """Ask, as a client of the real service must: it has no event for this."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        job = describe(client, name, category)
        if ready(job):
            return job
        time.sleep(0.03)
    raise AssertionError(f"{name} is {job['JobStatus']}, {job['SecondaryStatus']}: {job['output']}")


def wait_for_job(client: Any, name: str, category: str = "AgentRFT") -> dict[str, Any]:
    job: dict[str, Any] = wait_until(client, name, category, lambda job: job["JobStatus"] in DONE)
    return job


def dataset(path: Path, prompts: Sequence[str] = tuple(map(str, range(32)))) -> Path:
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return path


def channel(name: str, where: Path | str) -> dict[str, Any]:
    uri = where if isinstance(where, str) else where.as_uri()
    return {"ChannelName": name, "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": uri}}}


RUNTIME = f"arn:aws:bedrock-agentcore:{REGION}:{ACCOUNT}:runtime/agent-1234567890"
MODEL = f"arn:aws:sagemaker:{REGION}:aws:hub-content/SageMakerPublicHub/Model/tiny"
SMALL = {"global_batch_size": 32, "group_size": 2, "max_epochs": 30}


def training(data: Path | str, out: Path, *more: dict[str, Any], **hyperparameters: Any) -> dict[str, Any]:
    """A training document: 64 rollouts a step."""
    groups = {
        "OutputModelPackageGroupArn": f"{OWN}:model-package-group/out",
        "IntermediateCheckpointModelPackageGroupArn": f"{OWN}:model-package-group/steps",
    }
    return {
        "AgentConfig": {"BedrockAgentCoreConfig": {"AgentRuntimeArn": RUNTIME}},
        "InputDataConfig": [channel("train", data), *more],
        "OutputDataConfig": {"S3OutputPath": out.as_uri()},
        "ModelPackageConfig": groups,
        "TrainingConfig": {
            "BaseModelArn": MODEL,
            "AcceptEula": True,
            "HyperParameters": {**SMALL, **hyperparameters},
        },
    }


def evaluation(
    data: Path | str, out: Path, package: str | None = None, **hyperparameters: str
) -> dict[str, Any]:
    document = {
        "AgentConfig": {"BedrockAgentCoreConfig": {"AgentRuntimeArn": RUNTIME}},
        "InputDataConfig": [channel("evaluation", data)],
        "OutputDataConfig": {"S3OutputPath": out.as_uri()},
        "EvaluationConfig": {"BaseModelArn": MODEL, "AcceptEula": True, "HyperParameters": hyperparameters},
    }
    return (
        document if package is None else document | {"ModelPackageConfig": {"InputModelPackageArn": package}}
    )


def metrics(out: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / name / "metrics.jsonl").read_text().splitlines()]


def untimed(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if not name.startswith("timing_s/")}
