"""Jobs from CreateJob to their end, with agents of the test's own: what completes, and what fails and why."""

import asyncio
import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.service.options import ACCOUNT, REGION

from .stand_in import (
    ARN,
    COLOURS,
    AgentServer,
    Rollout,
    StandIn,
    aws,
    channel,
    dataset,
    evaluation,
    metrics,
    opening,
    play,
    training,
    untimed,
    wait_until,
)


class Stage:
    """Makes stand-ins and agents, and ends them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.data = dataset(folder / "train.jsonl")
        self._open: list[Any] = []

    def agent(self, how: Any = play) -> AgentServer:
        server = AgentServer(how)
        self._open.append(server)
        return server

    def stand_in(self, agent: AgentServer | str, state: str = "state", **options: Any) -> StandIn:
        url = agent if isinstance(agent, str) else agent.url
        server = StandIn(self.folder / state, agents={"*": url}, **options)
        self._open.append(server)
        return server

    def close(self) -> None:
        # Agents last: a stand-in that ends must not meet a dead agent first, and fail a job.
        for server in sorted(self._open, key=lambda each: isinstance(each, AgentServer)):
            server.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def test_two_runs_with_a_seed_are_the_same_run(stage: Stage) -> None:
    """In other states, with rollouts that arrive in another order; and another seed is another run."""
    seen = {}
    for state, seed in (("a", 5), ("b", 5), ("c", 6)):
        jitter = random.Random(state)

        async def shuffled(rollout: Rollout, jitter: random.Random = jitter) -> None:
            await asyncio.sleep(jitter.random() * 0.02)
            await play(rollout)

        service = stage.stand_in(stage.agent(shuffled), state, seed=seed)
        out = stage.out / state
        service.create("job", training(stage.data, out, channel("validation", stage.data), max_steps=2))
        job = service.wait("job")
        assert job["JobStatus"] == "Completed", job.get("FailureReason")
        lines = list(map(untimed, metrics(out, "job")))
        seen[state] = (lines, final(out, "job"), job["output"]["BillableTokenUsage"])
    assert seen["a"] == seen["b"]
    assert seen["a"] != seen["c"]
    assert any(abs(value) > 0.01 for value in seen["a"][1]["adam"]["mean"]), "something was learned"


def final(out: Path, name: str) -> dict[str, Any]:
    """The last checkpoint: parameters and optimizer."""
    checkpoints = sorted((out / name / "checkpoints").iterdir())
    state: dict[str, Any] = json.loads(checkpoints[-1].read_text())
    return state


def test_metrics_have_the_documented_names_and_agree_with_what_happened(stage: Stage) -> None:
    agent = stage.agent()
    service = stage.stand_in(agent)
    document = training(
        stage.data, stage.out, channel("validation", stage.data), max_steps=3, val_every=2, pass_k_values=[1]
    )
    service.create("job", document)
    assert service.wait("job")["JobStatus"] == "Completed"
    lines = metrics(stage.out, "job")
    assert [line["step"] for line in lines] == [1, 2, 3]
    for line in lines:
        assert line["training/global_step"] == line["step"]
        assert (line["training/num_groups"], line["training/num_trajectories"]) == (32, 64)
        assert line["analysis/batch_valid_ratio"] == 1
        assert (
            0 <= line["rollout/reward/min"] <= line["rollout/reward/mean"] <= line["rollout/reward/max"] <= 1
        )
        for name in (
            "rollout/reward/valid_mean", "rollout/reward/std", "rollout/reward/zero_frac",
            "rollout/turns/mean",
            "rollout/tokens/prompt_mean", "rollout/tokens/response_max", "rollout/logprob/mean",
            "rollout/advantage/n_positive", "analysis/zero_adv_groups", "training/epoch",
            "training/total_tokens", "timing_s/step", "timing_s/rollout", "timing_s/training",
        ):  # fmt: skip
            assert name in line
    assert [("val/reward/pass_at_1" in line, "timing_s/eval" in line) for line in lines] == [
        (False, False),
        (True, True),
        (True, True),
    ]
    assert [line["training/epoch"] for line in lines] == [0, 1, 2]
    sent = [payload["metadata"]["rolloutId"] for payload in agent.payloads]
    assert len(sent) == len(set(sent)) == 3 * 64 + 2 * 32
    for payload in agent.payloads:
        validates = payload["metadata"]["rolloutId"].startswith("val-")
        assert payload["inferenceParams"]["temperature"] == (0.0 if validates else 1.0)
    # Each epoch holds every prompt group_size times, in an order of its own.
    batches = [
        [p["prompt"] for p in agent.payloads if p["metadata"]["rolloutId"].startswith(f"train-{n:05d}")]
        for n in range(3)
    ]
    assert all(sorted(batch) == sorted([*map(str, range(32))] * 2) for batch in batches)
    assert batches[0] != batches[1]


def test_what_a_rollout_request_holds(stage: Stage) -> None:
    agent = stage.agent()
    service = stage.stand_in(agent)
    arn = service.create(
        "job",
        evaluation(stage.data, stage.out, eval_group_size="1", temperature="0.5", sampling_top_p="0.9"),
        "AgentRFTEvaluation",
    )
    assert service.wait("job", "AgentRFTEvaluation")["JobStatus"] == "Completed"
    (first,) = [p for p in agent.payloads if p["metadata"]["rolloutId"].startswith("eval-00000-00007-00-j")]
    assert first == {
        "prompt": "7",
        "metadata": {
            "jobArn": arn,
            "rolloutId": first["metadata"]["rolloutId"],
            "endpoint": service.url,
            "region": REGION,
        },
        "inferenceParams": {"temperature": 0.5, "topP": 0.9, "maxTokens": 4096},
    }


def blocked() -> tuple[Any, threading.Event]:
    """A play whose rollouts sample once and then wait for good, and an event for the first of them."""
    reached = threading.Event()

    async def how(rollout: Rollout) -> None:
        rollout.messages[:] = opening("1")
        await rollout.sample()
        reached.set()
        await asyncio.Event().wait()

    return how, reached


@pytest.mark.parametrize("category", ["AgentRFT", "AgentRFTEvaluation"])
def test_stop_job_ends_a_job_whose_rollouts_hang(stage: Stage, category: str) -> None:
    how, reached = blocked()
    agent = stage.agent(how)
    service = stage.stand_in(agent)
    document = (training if category == "AgentRFT" else evaluation)(stage.data, stage.out)
    arn = service.create("job", document, category)
    assert reached.wait(30)
    service.sagemaker.stop_job(JobName="job", JobCategory=category)
    job = service.wait("job", category)
    assert (job["JobStatus"], job["history"][-2:]) == ("Stopped", ["Stopping", "Stopped"])
    assert "OutputModelPackageArn" not in job["output"]
    assert service.counts(arn)["samples"] >= 1
    # Agents that are still playing find the door closed.
    runtime = aws("sagemakerjobruntime", service.url)
    name = agent.payloads[0]["metadata"]["rolloutId"]
    with pytest.raises(runtime.exceptions.ConflictException, match="from closed"):
        runtime.complete_rollout(JobArn=arn, TrajectoryId=name)


def test_stop_job_between_steps_keeps_what_was_done(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    service.create("job", training(stage.data, stage.out, max_steps=30))
    wait_until(service.sagemaker, "job", "AgentRFT", lambda job: "ProgressInfo" in job["output"])
    service.sagemaker.stop_job(JobName="job", JobCategory="AgentRFT")
    job = service.wait("job")
    assert job["JobStatus"] == "Stopped"
    done = job["output"]["ProgressInfo"]["CurrentStep"]
    assert 1 <= done < 30
    assert len(metrics(stage.out, "job")) in (done, done + 1)
    service.create("next", training(stage.data, stage.out, max_steps=1))
    assert service.wait("next")["JobStatus"] == "Completed"


def test_data_that_cannot_be_used_is_named(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    few = dataset(stage.folder / "few.jsonl", ["1", "2"])
    twice = dataset(stage.folder / "twice.jsonl", [*map(str, range(32)), "5"])
    missing = stage.folder / "missing.jsonl"
    source = {
        "DatasetSource": {"DatasetArn": f"arn:aws:sagemaker:{REGION}:aws:hub-content/h/DataSet/d/1.0.0"}
    }
    cases = {
        "few": (training(few, stage.out), "Channel train: 2 rows, fewer than global_batch_size 32"),
        "twice": (training(twice, stage.out), "Channel train: Duplicate prompts in row 33 (= 6)"),
        "validation": (
            training(stage.data, stage.out, channel("validation", twice)),
            "Channel validation: Duplicate prompts in row 33 (= 6)",
        ),
        "missing": (training(missing, stage.out), "missing.jsonl: there is no such file"),
        "hub": (training(stage.data, stage.out), "not DatasetSource"),
        "output": (training(stage.data, stage.data), "cannot be written"),
        "package": (training(stage.data, stage.out), "There is no model package"),
    }
    cases["hub"][0]["InputDataConfig"][0]["DataSource"] = source
    package = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:model-package/other/1"
    cases["package"][0]["ModelPackageConfig"]["InputModelPackageArn"] = package
    for name, (document, says) in cases.items():
        service.create(name, document)
        job = service.wait(name)
        assert (job["JobStatus"], says in job["FailureReason"]) == ("Failed", True), job["FailureReason"]


def test_a_forwarder_hands_the_rollouts_over(stage: Stage) -> None:
    """A Lambda ARN and a handler file: it answers at once, and the agent reports when it is done."""
    agent = stage.agent()
    handler = stage.folder / "handler.py"
    handler.write_text(
        "import json, threading, urllib.request\n"
        "def handler(event, context):\n"
        f"    request = urllib.request.Request({agent.url!r} + '/invocations', json.dumps(event).encode())\n"
        "    threading.Thread(target=urllib.request.urlopen, args=(request,)).start()\n"
        "    return {}\n"
    )
    service = stage.stand_in("http://127.0.0.1:9", forwarder=handler)
    document = training(stage.data, stage.out, max_steps=1)
    lambda_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:forward"
    document["AgentConfig"] = {"CustomAgentLambdaConfig": {"LambdaArn": lambda_arn}}
    arn = service.create("job", document)
    job = service.wait("job")
    assert job["JobStatus"] == "Completed", job.get("FailureReason")
    assert (len(agent.payloads), service.counts(arn)["rewards"]) == (64, 64)


def test_a_policy_that_is_not_trained_runs_a_training_job(stage: Stage) -> None:
    script = stage.folder / "script.json"
    script.write_text(json.dumps([{"content": f'<final_output>{{"colour": "{COLOURS[0]}"}}</final_output>'}]))
    service = stage.stand_in(stage.agent(), policy=f"scripted:{script}")
    service.create("job", training(stage.data, stage.out, max_steps=2))
    job = service.wait("job")
    assert job["JobStatus"] == "Completed", job.get("FailureReason")
    (said,) = [step for step in job["SecondaryStatusTransitions"] if step["Status"] == "Training"]
    assert "cannot be trained" in said["StatusMessage"]
    assert not (stage.out / "job" / "checkpoints").exists()
    first, second = metrics(stage.out, "job")
    right = 11 / 32  # of 0 to 31, those whose colour is the first of three
    assert first["rollout/reward/mean"] == second["rollout/reward/mean"] == pytest.approx(right)
    assert first["rollout/advantage/n_positive"] == 0
    usage = job["output"]["BillableTokenUsage"]
    assert (usage["TrainTokenCount"], usage["SampleTokenCount"] > 0) == (0, True)
    # Its package is the same policy, and can be evaluated.
    package = job["output"]["OutputModelPackageArn"]
    service.create("again", evaluation(stage.data, stage.out, package), "AgentRFTEvaluation")
    assert service.wait("again", "AgentRFTEvaluation")["JobStatus"] == "Completed"


def test_an_agent_of_a_deleted_job_reaches_nothing_of_the_next_of_its_name(stage: Stage) -> None:
    """Both have one ARN, and agents outlive jobs."""
    agent = stage.agent()
    service = stage.stand_in(agent)
    document = evaluation(stage.data, stage.out, eval_group_size="1")
    seen: list[set[str]] = []
    for _ in range(2):
        arn = service.create("job", document, "AgentRFTEvaluation")
        assert service.wait("job", "AgentRFTEvaluation")["JobStatus"] == "Completed"
        seen.append({payload["metadata"]["rolloutId"] for payload in agent.payloads[-32:]})
        assert service.counts(arn)["trajectories"] == 32
        service.sagemaker.delete_job(JobName="job", JobCategory="AgentRFTEvaluation")
        assert service.counts(arn) == {}
    assert not seen[0] & seen[1]
    runtime = aws("sagemakerjobruntime", service.url)
    with pytest.raises(runtime.exceptions.ResourceNotFoundException):
        runtime.complete_rollout(JobArn=arn, TrajectoryId=seen[1].pop())


def test_a_name_that_comes_back_starts_with_empty_metrics(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    for _ in range(2):
        service.create("job", training(stage.data, stage.out, max_steps=1))
        assert service.wait("job")["JobStatus"] == "Completed"
        service.sagemaker.delete_job(JobName="job", JobCategory="AgentRFT")
    assert len(metrics(stage.out, "job")) == 1


def test_counts_are_by_job(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    arn = service.create("job", evaluation(stage.data, stage.out, eval_group_size="2"), "AgentRFTEvaluation")
    service.wait("job", "AgentRFTEvaluation")
    counts = service.counts(arn)
    assert counts["trajectories"] == counts["sealed_ready"] == counts["rewards"] == 64
    assert set(counts) == {"trajectories", "samples", "sealed_ready", "rewards"}
    assert service.counts(ARN) == {}
