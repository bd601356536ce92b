"""A whole rehearsal with nothing but boto3: the jobs, and an agent that is a plain boto3 program."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from .stand_in import (
    TOOL,
    LoopThread,
    StandIn,
    aws,
    dataset,
    evaluation,
    grade,
    metrics,
    opening,
    results,
    training,
    wait_until,
)


class Boto3Agent(LoopThread):
    """What a customer would write: a web app whose rollouts use a boto3 client in threads."""

    def __init__(self) -> None:
        super().__init__()
        self.client: Any = None
        self.url = self.call(self._start())

    def play(self, payload: dict[str, Any]) -> None:
        named = {
            "JobArn": payload["metadata"]["jobArn"],
            "TrajectoryId": payload["metadata"]["rolloutId"],
        }
        inference = payload["inferenceParams"]
        messages = opening(payload["prompt"])
        for _ in range(3):
            body = {
                "model": "default",
                "messages": messages,
                "tools": [TOOL],
                "temperature": inference["temperature"],
                "top_p": inference["topP"],
                "max_tokens": inference["maxTokens"],
            }
            answer = json.loads(self.client.sample(**named, Body=json.dumps(body).encode())["Body"].read())
            message = answer["choices"][0]["message"]
            messages.append(message)
            if not message.get("tool_calls"):
                break
            messages += results(message, payload["prompt"])
        self.client.complete_rollout(**named, Status="ready")
        self.client.update_reward(**named, Rewards=[grade(message, payload["prompt"])])

    async def _invoke(self, request: web.Request) -> web.Response:
        await asyncio.to_thread(self.play, await request.json())
        return web.json_response({})

    async def _start(self) -> str:
        app = web.Application()
        app.router.add_post("/invocations", self._invoke)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def close(self) -> None:
        self.call(self._runner.cleanup())
        self.end()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[StandIn]:
    agent = Boto3Agent()
    service = StandIn(tmp_path / "state", agents={"*": agent.url}, seed=1)
    agent.client = aws("sagemakerjobruntime", service.url, max_pool_connections=64)
    yield service
    service.close()
    agent.close()


def test_train_then_evaluate_what_was_trained(served: StandIn, tmp_path: Path) -> None:
    data, out = dataset(tmp_path / "train.jsonl"), tmp_path / "out"
    settings = {"max_steps": 4, "group_size": 4, "learning_rate": 2e-4}
    arn = served.create("train", training(data, out, **settings))
    running = wait_until(
        served.sagemaker, "train", "AgentRFT", lambda job: job["SecondaryStatus"] == "Training"
    )
    assert running["JobStatus"] == "InProgress"
    job = served.wait("train")
    assert job["JobStatus"] == "Completed", job.get("FailureReason")
    assert job["history"] == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    output = job["output"]
    assert output["ProgressInfo"] == {
        "MaxEpoch": 4,
        "StepsPerEpoch": 1,
        "CurrentEpoch": 4,
        "CurrentStep": 4,
        "MaxSteps": 4,
    }
    usage = output["BillableTokenUsage"]
    lines = metrics(out, "train")
    assert usage["TrainTokenCount"] == sum(line["training/total_tokens"] for line in lines)
    assert usage["TrainTokenCount"] == usage["PrefillTokenCount"] + usage["SampleTokenCount"]
    assert output["OutputModelPackageArn"].endswith(":model-package/out/1")
    counts = served.counts(arn)
    assert set(counts) == {"trajectories", "samples", "sealed_ready", "rewards"}, "no breach of any kind"
    assert counts["trajectories"] == counts["rewards"] == 4 * 32 * 4

    scores = {}
    for name, package in (("base", None), ("trained", output["OutputModelPackageArn"])):
        document = evaluation(data, out, package, eval_group_size="4", pass_k_values="[1,4]")
        served.create(name, document, "AgentRFTEvaluation")
        evaluated = served.wait(name, "AgentRFTEvaluation")
        assert evaluated["JobStatus"] == "Completed", evaluated.get("FailureReason")
        assert evaluated["history"] == ["Starting", "Downloading", "Evaluating", "Uploading", "Completed"]
        spent = evaluated["output"]["BillableTokenUsage"]
        assert spent["SampleTokenCount"] > 0
        assert spent["TrainTokenCount"] == 0
        (line,) = metrics(out, name)
        for metric in ("pass_at_1", "pass_at_4", "pass_power_4", "mean", "succeeded_rollouts"):
            assert f"eval/reward/{metric}" in line
        scores[name] = line["eval/reward/mean"]
    assert scores["trained"] > scores["base"] + 0.05, scores
