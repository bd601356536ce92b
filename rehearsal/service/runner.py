"""Runs jobs: data in, rollouts out, updates, validation, model package.

Everything that a restart needs (step, parameters, optimizer) is in the job's `runner_state` after each
step, so a killed process goes on with the step that it was in.
"""

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from rehearsal.policies.base import PolicyError, ServedPolicy, TrainablePolicy
from rehearsal.service.agents import AgentError, Agents
from rehearsal.service.data import DataError, Output, check_prompts, read_prompts
from rehearsal.service.models import Models
from rehearsal.service.options import ServiceOptions
from rehearsal.service.rollouts import (
    Finished,
    RolloutFailed,
    RolloutSender,
    Sampling,
    StopRequested,
    Ticket,
)
from rehearsal.service.state.jobs import JobRecord, Jobs
from rehearsal.service.state.trajectories import Trajectories
from rehearsal.service.wire.job_runtime import hash_seed
from rehearsal.trainer.hyperparameters import EvaluationHyperparameters, TrainingHyperparameters
from rehearsal.trainer.metrics import by_group, evaluation_metrics, training_metrics
from rehearsal.trainer.optimizer import Adam
from rehearsal.trainer.results import TrajectoryResult
from rehearsal.trainer.update import Experience, update


@dataclass(slots=True)
class _Run:
    """What one job runs with."""

    record: JobRecord
    policy: ServedPolicy
    sender: RolloutSender
    output: Output
    where: str
    """The URI below which this job writes."""
    channels: dict[str, list[str]]
    usage: Counter[str]
    """BillableTokenUsage, those of an earlier process included."""

    def bill(self, finished: Sequence[Finished], *, trained: bool = False) -> None:
        turns = [turn for each in finished for turn in each.trajectory.turns]
        prompt, response = sum(t.prompt_tokens for t in turns), sum(t.completion_tokens for t in turns)
        self.usage["PrefillTokenCount"] += prompt
        self.usage["SampleTokenCount"] += response
        self.usage["TrainTokenCount"] += prompt + response if trained else 0


class Runner:
    """Starts a task for each job, and resumes the unfinished ones of an earlier process."""

    def __init__(
        self,
        options: ServiceOptions,
        jobs: Jobs,
        trajectories: Trajectories,
        models: Models,
        agents: Agents,
    ) -> None:
        self._options = options
        self._jobs = jobs
        self._trajectories = trajectories
        self._models = models
        self._agents = agents
        self._tasks: set[asyncio.Task[None]] = set()
        self.endpoint = ""
        """This service's own URL, which rollout requests name; set when the port is known."""
        jobs.on_created = self.start
        jobs.on_deleted = lambda record: trajectories.forget_job(record.arn)

    def resume(self) -> None:
        """Go on with the jobs that were unfinished when the last process ended."""
        for record in self._jobs.unfinished():
            if record.secondary != "Starting":
                restarts = int(record.runner_state.get("restarts", 0)) + 1
                self._jobs.progress(record, runner_state={"restarts": restarts})
                self._jobs.advance(record, "Restarting", "The service was restarted.")
            self.start(record)

    def start(self, record: JobRecord) -> None:
        task = asyncio.get_running_loop().create_task(self._run(record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Leave running jobs as they are: the next process resumes them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._agents.close()

    async def _run(self, record: JobRecord) -> None:
        policy: ServedPolicy | None = None
        try:
            if self._jobs.stop_requested(record):
                raise StopRequested
            policy = self._models.policy(
                record.document.get("ModelPackageConfig", {}).get("InputModelPackageArn")
            )
            run = await self._prepare(record, policy)
            if record.category == "AgentRFT":
                await _Training(self._jobs, self._trajectories, self._options).run(run)
            else:
                await _Evaluation(self._jobs, self._trajectories).run(run)
            if self._jobs.stop_requested(record):
                raise StopRequested
            if record.category == "AgentRFT":
                self._publish(run)
            self._jobs.advance(record, "Uploading")
            self._jobs.finish(record, "Completed")
        except StopRequested:
            self._jobs.finish(record, "Stopped")
        except (DataError, AgentError, PolicyError, RolloutFailed) as error:
            self._jobs.finish(record, "Failed", reason=str(error))
        except Exception as error:  # a defect of ours must end the job, not hang its waiter
            self._jobs.finish(record, "Failed", reason=f"Internal error: {type(error).__name__}: {error}")
            raise  # and stay visible in this process's log
        finally:
            self._trajectories.end_job(record.arn)
            self._record_counts(record)
            if policy is not None:
                await policy.close()

    async def _prepare(self, record: JobRecord, policy: ServedPolicy) -> _Run:
        self._jobs.advance(record, "Downloading")
        agent = self._agents.resolve(record.document["AgentConfig"])
        channels = {}
        for channel in record.document["InputDataConfig"]:
            source = channel["DataSource"].get("S3DataSource")
            if source is None:
                raise DataError("The stand-in reads S3DataSource channels only, not DatasetSource.")
            channels[channel["ChannelName"]] = await asyncio.to_thread(read_prompts, source["S3Uri"])
        where = f"{record.document['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{record.name}"
        sender = RolloutSender(
            self._options,
            self.endpoint,
            self._trajectories,
            agent,
            record.arn,
            policy,
            stop_requested=lambda: self._jobs.stop_requested(record),
            created=record.created,
            restarts=int(record.runner_state.get("restarts", 0)),
        )
        usage = Counter(record.service_output.get("BillableTokenUsage", {}))
        return _Run(record, policy, sender, Output(), where, channels, usage)

    def _publish(self, run: _Run) -> None:
        if "OutputModelPackageArn" in run.record.service_output:
            return  # killed between this and the job's end
        group = run.record.document["ModelPackageConfig"]["OutputModelPackageGroupArn"]
        package = self._models.register(group, run.policy, run.record.arn)
        self._jobs.progress(run.record, service_output={"OutputModelPackageArn": package})

    def _record_counts(self, record: JobRecord) -> None:
        counts: dict[str, int] = dict(self._trajectories.counts.get(record.arn, {}))
        self._jobs.progress(record, runner_state={"counts": counts})


class _Training:
    """The training loop of one job."""

    def __init__(self, jobs: Jobs, trajectories: Trajectories, options: ServiceOptions) -> None:
        self._jobs = jobs
        self._trajectories = trajectories
        self._seed = options.seed

    async def run(self, run: _Run) -> None:
        record = run.record
        hp = TrainingHyperparameters.from_document(
            record.document["TrainingConfig"].get("HyperParameters", {})
        )
        prompts = _channel(run, "train", hp.global_batch_size)
        if "validation" in run.channels:  # now, and not after val_every steps of training
            _channel(run, "validation", 1)
        per_epoch = max(1, len(prompts) // hp.global_batch_size)
        total = min(hp.max_steps, hp.max_epochs * per_epoch)
        adam = Adam(run.policy.parameters.size, hp) if isinstance(run.policy, TrainablePolicy) else None
        start = _restore(record, run.policy, adam)
        note = "" if adam else "This policy cannot be trained: rollouts and rewards only."
        self._jobs.advance(record, "Training", note)
        await asyncio.to_thread(_restore_metrics, run, self._jobs.metrics(record, start))
        for step in range(start, total):
            batch = self._batch(prompts, step, hp.global_batch_size, per_epoch)
            metrics = await self._step(run, hp, adam, step, batch, per_epoch)
            if "validation" in run.channels and hp.val_every and _is_due(step, total, hp.val_every):
                metrics |= await self._validate(run, hp, step)
            line = {"step": step + 1, **metrics}
            await asyncio.to_thread(_append_metrics, run, line)
            self._jobs.add_metrics(record, line)
            self._save(run, adam, step + 1, total, per_epoch, hp)

    def _batch(self, prompts: Sequence[str], step: int, size: int, per_epoch: int) -> list[int]:
        """Indices of the step's prompts: each epoch is one seeded shuffle."""
        epoch, at = divmod(step, per_epoch)
        order = list(range(len(prompts)))
        random.Random(hash_seed(self._seed, epoch)).shuffle(order)  # noqa: S311 - order, not secrets
        return order[at * size : (at + 1) * size]

    async def _step(
        self,
        run: _Run,
        hp: TrainingHyperparameters,
        adam: Adam | None,
        step: int,
        batch: Sequence[int],
        per_epoch: int,
    ) -> dict[str, float]:
        started = time.monotonic()
        prompts = run.channels["train"]
        tickets = [Ticket("train", step, i, prompts[i], m) for i in batch for m in range(hp.group_size)]
        finished = await run.sender.send(tickets, _sampling(hp))
        rolled = time.monotonic()
        results = [_result(each) for each in finished]
        experience = _experience(finished)
        if adam is not None and isinstance(run.policy, TrainablePolicy):
            shares = update(run.policy, experience, hp, adam)
        else:
            shares = [[np.zeros(len(member.traces)) for member in group] for group in experience]
        now = time.monotonic()
        run.bill(finished, trained=adam is not None)
        for each in finished:
            self._trajectories.forget(each.trajectory)
        return training_metrics(
            results,
            shares,
            timings={"step": now - started, "rollout": rolled - started, "training": now - rolled},
            counters={"epoch": step // per_epoch, "global_step": step + 1, "learning_rate": hp.learning_rate},
        )

    async def _validate(self, run: _Run, hp: TrainingHyperparameters, step: int) -> dict[str, float]:
        """One greedy rollout of each validation prompt, as the service does."""
        started = time.monotonic()
        tickets = [Ticket("val", step, i, p, 0) for i, p in enumerate(run.channels["validation"])]
        greedy = replace(_sampling(hp), temperature=0.0, top_p=1.0, max_tokens=hp.val_sampling_max_tokens)
        metrics = await _measure(run, self._trajectories, tickets, greedy, hp)
        return {**metrics, "timing_s/eval": time.monotonic() - started}

    def _save(
        self,
        run: _Run,
        adam: Adam | None,
        step: int,
        total: int,
        per_epoch: int,
        hp: TrainingHyperparameters,
    ) -> None:
        state: dict[str, Any] = {"step": step}
        if adam is not None and isinstance(run.policy, TrainablePolicy):
            state |= {"parameters": run.policy.parameters.tolist(), "adam": adam.state()}
            if step == total or (hp.val_every and step % hp.val_every == 0):
                body = json.dumps(state).encode()
                run.output.write_bytes(run.where, f"checkpoints/step-{step:05d}.json", body)
        progress = {
            "MaxEpoch": -(-total // per_epoch),
            "StepsPerEpoch": per_epoch,
            "CurrentEpoch": (step - 1) // per_epoch + 1,
            "CurrentStep": step,
            "MaxSteps": total,
        }
        output = {"ProgressInfo": progress, "BillableTokenUsage": dict(run.usage)}
        self._jobs.progress(run.record, service_output=output, runner_state=state)


class _Evaluation:
    """An evaluation job: every prompt, a group of rollouts, no update."""

    def __init__(self, jobs: Jobs, trajectories: Trajectories) -> None:
        self._jobs = jobs
        self._trajectories = trajectories

    async def run(self, run: _Run) -> None:
        record = run.record
        hp = EvaluationHyperparameters.from_document(
            record.document["EvaluationConfig"].get("HyperParameters", {})
        )
        prompts = _channel(run, "evaluation", 1)
        self._jobs.advance(record, "Evaluating")
        tickets = [
            Ticket("eval", 0, i, p, m) for i, p in enumerate(prompts) for m in range(hp.eval_group_size)
        ]
        metrics = await _measure(run, self._trajectories, tickets, _sampling(hp), hp)
        line = json.dumps({"step": 0, **metrics}).encode() + b"\n"
        await asyncio.to_thread(run.output.write_bytes, run.where, "metrics.jsonl", line)
        output = {"BillableTokenUsage": dict(run.usage)}
        self._jobs.progress(record, service_output=output, runner_state={"metrics": metrics})


async def _measure(
    run: _Run,
    trajectories: Trajectories,
    tickets: Sequence[Ticket],
    sampling: Sampling,
    hp: TrainingHyperparameters | EvaluationHyperparameters,
) -> dict[str, float]:
    """The metrics of rollouts that are not trained on."""
    finished = await run.sender.send(tickets, sampling)
    results = [_result(each) for each in finished]
    run.bill(finished)
    for each in finished:
        trajectories.forget(each.trajectory)
    return evaluation_metrics(
        results,
        prefix=tickets[0].phase if tickets else "val",
        pass_k_values=hp.pass_k_values,
        success_threshold=hp.success_threshold,
    )


def _channel(run: _Run, name: str, batch: int) -> list[str]:
    prompts = run.channels[name]  # the schema has seen to it that it is there
    try:
        check_prompts(prompts, batch)
    except DataError as error:
        raise DataError(f"Channel {name}: {error}") from None
    return prompts


def _is_due(step: int, total: int, every: int) -> bool:
    return (step + 1) % every == 0 or step + 1 == total


def _sampling(hp: TrainingHyperparameters | EvaluationHyperparameters) -> Sampling:
    return Sampling(
        temperature=hp.temperature,
        top_p=hp.sampling_top_p,
        max_tokens=hp.sampling_max_tokens,
        concurrency=hp.rollout_max_concurrency,
        timeout=hp.rollout_timeout,
        attempts=hp.rollout_max_retries,
    )


def _restore(record: JobRecord, policy: ServedPolicy, adam: Adam | None) -> int:
    """The step to go on with: 0, or the one that an earlier process was in."""
    state = record.runner_state
    if adam is not None and isinstance(policy, TrainablePolicy) and "parameters" in state:
        policy.load(np.array(state["parameters"]))
        adam.restore(state["adam"])
    return int(state.get("step", 0))


def _result(finished: Finished) -> TrajectoryResult:
    turns = finished.trajectory.turns
    return TrajectoryResult(
        rollout_id=finished.trajectory.id,
        group=finished.ticket.group,
        rewards=finished.trajectory.rewards or () if finished.status == "ready" else (),
        status=finished.status,
        turns=len(turns),
        prompt_tokens=sum(turn.prompt_tokens for turn in turns),
        response_tokens=sum(turn.completion_tokens for turn in turns),
        logprob_mean=float(np.mean([turn.logprob for turn in turns])) if turns else 0.0,
        seconds=finished.seconds,
    )


def _experience(finished: Sequence[Finished]) -> list[list[Experience]]:
    """What is trained on, in the groups and the order of `by_group`."""
    by_id = {each.trajectory.id: each for each in finished}
    groups = by_group([_result(each) for each in finished])
    return [[_member(by_id[result.rollout_id], result) for result in group] for group in groups]


def _member(finished: Finished, result: TrajectoryResult) -> Experience:
    turns = finished.trajectory.turns
    return Experience(result.rewards, [turn.trace for turn in turns], [turn.logprob for turn in turns])


def _append_metrics(run: _Run, line: dict[str, float]) -> None:
    run.output.append_line(run.where, "metrics.jsonl", json.dumps(line))


def _restore_metrics(run: _Run, history: Sequence[dict[str, float]]) -> None:
    """The file as of the last finished step: a killed process may have written a line more."""
    run.output.write_bytes(run.where, "metrics.jsonl", b"")
    if history:
        run.output.append_line(run.where, "metrics.jsonl", "\n".join(map(json.dumps, history)))
