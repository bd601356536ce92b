"""How jobs end badly, or late: failed rollouts, retries, and what a killed process has left behind."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rehearsal.service.options import ACCOUNT, REGION
from rehearsal.service.state.jobs import JobRecord, Jobs
from rehearsal.service.state.store import Store

from .stand_in import AgentServer, Rollout, StandIn, evaluation, metrics, opening, play, training
from .test_runner_jobs import Stage, final

NO_SAMPLE = "No sampling requests were received for this rollout"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.close()


def failed(service: StandIn, document: dict[str, Any], category: str = "AgentRFT") -> str:
    service.create("job", document, category)
    job = service.wait("job", category)
    assert (job["JobStatus"], job["history"][-1]) == ("Failed", "Failed")
    return str(job["FailureReason"])


def test_an_agent_that_is_down_fails_the_job(stage: Stage) -> None:
    service = stage.stand_in("http://127.0.0.1:9")
    reason = failed(service, training(stage.data, stage.out))
    assert NO_SAMPLE in reason
    assert "127.0.0.1:9/invocations" in reason


def test_a_job_without_an_agent_names_the_flag(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    document = training(stage.data, stage.out)
    document["AgentConfig"] = {
        "CustomAgentLambdaConfig": {"LambdaArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"}
    }
    assert "--forwarder" in failed(service, document)


async def gives_up(rollout: Rollout) -> None:
    """Half of the rollouts play, the others seal as failed after one Sample, then send a reward."""
    if "-01-j" not in rollout.id:
        return await play(rollout)
    rollout.messages[:] = opening("1")
    await rollout.sample()
    assert await rollout.complete("failed") == 200
    assert await rollout.reward(1.0) == 200
    return None


async def forgets(rollout: Rollout) -> None:
    """Half of the rollouts end in an error, after a Sample and without a seal."""
    if "-01-j" not in rollout.id:
        return await play(rollout)
    rollout.messages[:] = opening("1")
    await rollout.sample()
    raise RuntimeError("I am lost")


async def idles(rollout: Rollout) -> None:
    """Half of the rollouts never sample."""
    if "-01-j" not in rollout.id:
        return await play(rollout)
    raise RuntimeError("no model, no agent")


FATES: Any = [
    (gives_up, "failed", "The agent signaled that the trajectory failed"),
    (forgets, "lost", "ended without a reward. "),
    (idles, "no-sample", NO_SAMPLE),
]


@pytest.mark.parametrize(("how", "kind", "says"), FATES)
def test_what_fails_a_job_is_a_setting(stage: Stage, how: Any, kind: str, says: str) -> None:
    """The same rollouts cost the job, or only themselves."""
    agent = stage.agent(how)
    strict = stage.stand_in(agent, "strict", fail_on=frozenset({kind}))
    assert says in failed(strict, training(stage.data, stage.out / "strict", max_steps=1))
    rest = frozenset({"failed", "no-sample"} - {kind})
    lenient = stage.stand_in(agent, "lenient", fail_on=rest)
    arn = lenient.create("job", training(stage.data, stage.out, max_steps=1))
    job = lenient.wait("job")
    assert job["JobStatus"] == "Completed", job.get("FailureReason")
    (line,) = metrics(stage.out, "job")
    assert line["analysis/batch_valid_ratio"] == 0.5
    assert line["analysis/batch_completion_ratio"] == (1.0 if kind == "failed" else 0.5)
    assert lenient.counts(arn).get("sealed_failed", 0) == (32 if kind == "failed" else 0)


def flaky(attempts: dict[str, list[str]]) -> Callable[[Rollout], Any]:
    """Rollouts of prompt 3 fail (in a way that is worth a retry) until their third attempt."""

    async def how(rollout: Rollout) -> None:
        prompt = str(rollout.payload["prompt"])
        tries = attempts.setdefault(prompt, [])
        tries.append(rollout.id)
        if prompt == "3" and len(tries) < 3:
            rollout.messages[:] = opening(prompt)
            await rollout.sample()
            raise ConnectionAbortedError
        await play(rollout)

    return how


@pytest.mark.parametrize("ids", ["renew", "reuse"])
def test_a_retry_renews_or_reuses_the_id(stage: Stage, ids: str, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts: dict[str, list[str]] = {}
    agent = stage.agent(flaky(attempts))
    invoke = agent._invoke

    async def busy(request: Any) -> Any:
        answer = await invoke(request)
        if answer.status == 500:
            answer.set_status(503)  # AgentCore's word for "try again"
        return answer

    agent.call(_replace_route(agent, busy))
    service = stage.stand_in(agent, retry_ids=ids)
    document = evaluation(stage.data, stage.out, eval_group_size="1", rollout_max_retries="3")
    arn = service.create("job", document, "AgentRFTEvaluation")
    assert service.wait("job", "AgentRFTEvaluation")["JobStatus"] == "Completed"
    name = attempts["3"][0]
    assert name.startswith("eval-00000-00003-00-j")
    renewed = [name, f"{name}-r1", f"{name}-r2"]
    assert attempts["3"] == (renewed if ids == "renew" else [name] * 3)
    counts = service.counts(arn)
    assert counts["rollout_retries"] == 2
    # A reused trajectory still holds the turns of the first attempts, and starts with another prompt.
    assert counts.get("answer_not_verbatim", 0) + counts.get("sample_not_extending", 0) == 0
    (line,) = metrics(stage.out, "job")
    assert line["eval/reward/succeeded_rollouts"] == 32


async def _replace_route(agent: AgentServer, handler: Any) -> None:
    (route,) = [r for r in agent._runner.app.router.routes() if r.method == "POST"]
    route._handler = handler


def test_retries_end(stage: Stage) -> None:
    service = stage.stand_in("http://127.0.0.1:9")
    document = evaluation(stage.data, stage.out, eval_group_size="1", rollout_max_retries="1")
    arn = service.create("job", document, "AgentRFTEvaluation")
    assert service.wait("job", "AgentRFTEvaluation")["JobStatus"] == "Failed"
    assert "rollout_retries" not in service.counts(arn)


def left_behind(stage: Stage, name: str, document: dict[str, Any]) -> tuple[Store, Jobs, JobRecord]:
    """The state of a process that died while the job was training."""
    store = Store(stage.folder / "state")
    jobs = Jobs(store, region=REGION, account=ACCOUNT)
    record = jobs.create(
        name=name, category="AgentRFT", role_arn="r", schema_version="1.0.0", document=document
    )
    jobs.advance(record, "Downloading")
    jobs.advance(record, "Training")
    return store, jobs, record


def test_a_job_that_was_being_stopped_is_stopped_by_the_next_process(stage: Stage) -> None:
    store, jobs, _ = left_behind(stage, "job", training(stage.data, stage.out))
    jobs.stop("job", "AgentRFT")
    store.close()
    agent = stage.agent()
    job = stage.stand_in(agent).wait("job")
    assert (job["history"][-2:], agent.payloads) == (["Restarting", "Stopped"], [])


def test_a_job_that_had_its_package_gets_no_second_one(stage: Stage) -> None:
    service = stage.stand_in(stage.agent())
    service.create("job", training(stage.data, stage.out, max_steps=1))
    package = service.wait("job")["output"]["OutputModelPackageArn"]
    state = final(stage.out, "job")
    service.close()
    stage._open.remove(service)
    store, jobs, record = left_behind(stage, "cut", training(stage.data, stage.out, max_steps=1))
    history = metrics(stage.out, "job")
    jobs.progress(
        record,
        service_output={"OutputModelPackageArn": package},
        runner_state=state,
    )
    # One line more than the step that was finished: the process died between the two writes.
    for line in (*history, {"step": 2, "reward": 0.5}):
        jobs.add_metrics(record, line)
    store.close()
    service = stage.stand_in(stage.agent())
    job = service.wait("cut")
    assert (job["JobStatus"], job["output"]["OutputModelPackageArn"]) == ("Completed", package)
    assert metrics(stage.out, "cut") == history


def test_metrics_are_of_one_job_and_go_with_it(stage: Stage) -> None:
    """Also of a job whose name goes on where the other one ends."""
    store, jobs, record = left_behind(stage, "job", training(stage.data, stage.out))
    jobs.finish(record, "Completed")
    other = jobs.create(name="job-2", category="AgentRFT", role_arn="r", schema_version="1.0.0", document={})
    for step in (10, 9, 1):
        jobs.add_metrics(record, {"step": step})
        jobs.add_metrics(other, {"step": step})
    assert [line["step"] for line in jobs.metrics(record, 9)] == [1, 9]
    jobs.delete("job", "AgentRFT")
    assert jobs.metrics(record, 99) == []
    assert len(jobs.metrics(other, 99)) == 3
    store.close()
