"""From an adapter's log to figures: what counts, how often, and against brute force."""

import json
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from adapters.contract import RewardTerms
from mtrl.evaluating.figures import measure
from mtrl.evaluating.folder import JOB, LOG, EvaluationFolder
from mtrl.evaluating.rollouts import LOST, Rollout, read_rollouts
from mtrl.rehearsing.plan import PlanError
from mtrl.rehearsing.results import RolloutLog

KS = [1, 2, 4]


def rollout(task: str, member: int, score: float = 1.0, **more: Any) -> Rollout:
    return Rollout(**{"task": task, "member": member, "score": score, "reward": score,
                      "stop_reason": "answered", "turns": 3, **more})  # fmt: skip


def line(row: int, member: int, again: str = "", **more: Any) -> str:
    told: dict[str, Any] = {
        "event": "rollout", "rollout_id": f"eval-00000-{row:05d}-{member:02d}{again}", "job_name": JOB,
        "stop_reason": "answered", "sealed": "ready", "score_fields": {"amount": True}, "Score": 1.0,
        "Reward": 1.0, "Turns": 4, "RewardScoreDisagreement": 0.0, "RolloutSeconds": 0.1,
    }  # fmt: skip
    return json.dumps(told | more, separators=(",", ":")) + "\n"


GROUPS = {"a": [1, 1, 1, 1], "b": [1, 0, 0, 0], "c": [0, 0, 0, 0], "d": [1, 1, 0, 0]}


def test_pass_at_k_and_pass_power_k_are_those_of_every_draw() -> None:
    figures = measure(
        [rollout(task, m, score) for task, scores in GROUPS.items() for m, score in enumerate(scores)], KS
    )
    for k in KS:
        draws = [list(combinations(scores, k)) for scores in GROUPS.values()]
        any_of = fmean(fmean(any(draw) for draw in of_task) for of_task in draws)
        all_of = fmean(fmean(all(draw) for draw in of_task) for of_task in draws)
        assert figures.pass_at_k[k].value == pytest.approx(any_of)
        assert figures.pass_power_k[k].value == pytest.approx(all_of)
    assert figures.score.value == pytest.approx(7 / 16)
    assert (figures.tasks, figures.rollouts) == (4, 16)


def test_pass_at_k_is_no_surer_than_its_independent_draws_of_k() -> None:
    """16 of 32 in each of 10 tasks: pass@16 has 20 draws that share no rollout, and 20 of 20 is not 98 %."""
    rollouts = [rollout(str(task), m, float(m % 2)) for task in range(10) for m in range(32)]
    figures = measure(rollouts, [1, 16, 32])
    assert figures.pass_at_k[16].value > 0.999
    assert figures.pass_at_k[16].ci95[0] < 0.82
    assert figures.pass_power_k[16].ci95[1] > 0.18
    assert figures.pass_at_k[1].ci95 == figures.score.ci95
    assert figures.pass_at_k[32].ci95[0] == pytest.approx(0.722, abs=0.001)  # Wilson's, 10 of 10


def test_completion_is_apart_from_correctness() -> None:
    figures = measure(
        [
            rollout("a", 0, 1.0),
            rollout("a", 1, 0.0),
            rollout("b", 0, 0.0, stop_reason="max_turns"),
            rollout("b", 1, 0.0, stop_reason="token_cap"),
        ],
        [1],
    )
    assert (figures.completion.value, figures.score.value, figures.completed_score) == (0.5, 0.25, 0.5)
    assert figures.stop_reasons == {"answered": 2, "max_turns": 1, "token_cap": 1}
    assert figures.cut_short == 0


def test_a_field_that_was_not_answered_is_not_right() -> None:
    """Left out of the count, silence would raise the accuracy."""
    figures = measure(
        [
            rollout("a", 0, fields={"x": True, "y": False}),
            rollout("a", 1, fields={"x": True}),
            rollout("b", 0, 0.0, stop_reason="max_turns"),
            rollout("b", 1, 0.0, stop_reason="max_turns"),
            rollout("c", 0, fields={"x": True}),
            rollout("c", 1, fields={"x": True}),
        ],
        [1],
    )
    assert figures.fields["x"].value == pytest.approx(4 / 6)
    assert figures.fields["y"].value == 0.0  # asked for by a, perhaps by b, not by c


def test_rewards_and_disagreements() -> None:
    figures = measure(
        [
            rollout("a", 0, 0.0, reward=1.0, disagrees=True),
            rollout("a", 1, 0.0, reward=-0.2),
            rollout("b", 0, 0.0, reward=None, stop_reason="policy_unavailable"),
            rollout("b", 1, 0.0, reward=None, stop_reason=LOST),
        ],
        [1, 2],
    )
    assert figures.reward.value == pytest.approx(0.2)
    assert (figures.disagreements, figures.cut_short) == (1, 2)
    assert figures.service["eval/reward/failed_rollouts"] == 2
    assert figures.service["eval/reward/pass_at_2"] == 0.5  # by reward, as the service counts
    assert figures.pass_at_k[2].value == 0.0  # by score
    assert not [name for name in figures.service if "tokens" in name or "logprob" in name]


def test_the_success_of_a_reward_is_the_environment_s_own() -> None:
    rollouts = [rollout("a", 0, 0.0, reward=0.8), rollout("a", 1, 1.0, reward=0.2)]
    assert measure(rollouts, [1]).service["eval/reward/pass_at_1"] == 0.0
    assert measure(rollouts, [1], success=0.7).service["eval/reward/pass_at_1"] == 0.5
    assert measure(rollouts, [1], success=0.7).pass_at_k[1].value == 0.5  # by score: the other one


def test_the_log_is_read_by_row_and_member(tmp_path: Path) -> None:
    log = tmp_path / LOG
    log.write_text(
        "no json\n" + line(0, 0) + line(1, 1, Score=0.0) + '{"event": "started", "port": 1}\n'
        + line(1, 0, stop_reason="drained") + line(1, 0, "-j12-r1") + line(0, 1, "-j12-s1-r2")
        + line(1, 2)[:-9]
    )  # fmt: skip
    found = read_rollouts(log, ["first", "second"])
    assert {task: sorted(members) for task, members in found.items()} == {"first": [0, 1], "second": [0, 1]}
    assert found["second"][1].score == 0.0
    assert found["second"][0].settled  # the retry is what it ended with
    assert read_rollouts(tmp_path / "none", []) == {}


def test_a_rehearsal_counts_rollouts_and_not_attempts(tmp_path: Path) -> None:
    """As `mtrl evaluate`: what was retried is one rollout, and what was lost is worth nothing."""
    log = tmp_path / LOG
    gone: dict[str, Any] = {"stop_reason": "policy_unavailable", "Score": 0.0, "Reward": 0.0}
    train = "train-00000-00007-00"
    log.write_text(
        "".join(line(0, member) for member in range(3)) + line(0, 3, **gone) + line(0, 3, "-r1")
        + line(0, 0, job_name="other", Score=0.0) + line(1, 0, Turns=2)
        + "".join(line(0, 0, rollout_id=each, job_name="t", Score=s)
                  for each, s in ((train, 0.0), (train + "-s1", 1.0), ("val-00000-00000-00", 1.0)))
    )  # fmt: skip
    found = RolloutLog(log, RewardTerms())
    evaluation = found.evaluation(JOB, KS, tasks=2, group=4)
    assert (evaluation.score, evaluation.pass_at_k) == (5 / 8, {1: 5 / 8, 2: 0.75, 4: 1.0})
    assert evaluation.stop_reasons == {"answered": 5, LOST: 3}
    assert found.step_scores("t", "train", 2) == {1: 0.5}  # the other one of the step was lost
    assert found.total == 8
    assert found.stop_reasons() == {"answered": 8}


def start(folder: EvaluationFolder, lines: str, tasks: tuple[str, ...] = ("a", "b", "c")) -> Path:
    run = folder.new_run(0, {task: f'{{"input": "{task}"}}' for task in tasks})
    (run / LOG).write_text(lines)
    return run


def test_only_whole_groups_that_ended_by_themselves_are_finished(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    start(folder, line(0, 0) + line(0, 1) + line(1, 0) + line(2, 0) + line(2, 1, stop_reason="drained"))
    assert folder.finished(0, 2) == {"a"}
    start(folder, line(0, 0, Score=0.0) + line(0, 1, Score=0.0) + line(1, 0), ("b", "c"))
    assert folder.finished(0, 2) == {"a", "b"}
    chosen = folder.rollouts(0, ["a", "b", "c"], 2)
    # b is of the second run as a whole: its first member of the first run does not count twice.
    assert [(r.score, run.name) for run, r in chosen["b"]] == [(0.0, "2"), (0.0, "2")]
    # c was never whole: the last run has one of two, and the other one is lost.
    assert [r.stop_reason for _, r in chosen["c"]] == ["answered", LOST]


def test_transcripts_are_those_of_the_rollouts_that_count(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    for tasks in (("a", "b"), ("b",)):
        run = start(folder, "".join(line(row, 0) for row in range(len(tasks))), tasks)
        (run / "transcripts").mkdir()
        records = [{"rollout_id": f"eval-00000-{row:05d}-00", "of": run.name} for row in range(len(tasks))]
        (run / "transcripts" / f"{JOB}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    chosen = folder.rollouts(0, ["a", "b"], 1)
    assert [(t["task"], t["of"]) for t in folder.transcripts(chosen)] == [("a", "1"), ("b", "2")]


CONFIGURATION = {"seed": 1, "temperature": 1.0, "prompts": "0" * 64, "policy": {"kind": "tiny"}}


def test_an_unfinished_evaluation_is_not_thrown_away(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    folder.check(CONFIGURATION, resume=False)
    folder.clear(CONFIGURATION)
    start(folder, line(0, 0))
    with pytest.raises(PlanError, match=r"unfinished evaluation\. Go on with it by --resume"):
        folder.check(CONFIGURATION, resume=False)
    folder.check(CONFIGURATION, resume=True)
    assert folder.finished(0, 1) == {"a"}
    folder.write("evaluation.json", "{}")
    folder.check(CONFIGURATION, resume=False)
    folder.clear(CONFIGURATION)  # a finished one is replaced
    assert folder.finished(0, 1) == set()


def test_another_evaluation_is_not_resumed(tmp_path: Path) -> None:
    folder = EvaluationFolder(tmp_path)
    with pytest.raises(PlanError, match=r"there is no evaluation in .*Leave --resume out"):
        folder.check(CONFIGURATION, resume=True)
    folder.clear(CONFIGURATION)
    other = {**CONFIGURATION, "temperature": 0.5, "policy": {"kind": "openai", "of": "http://x"}}
    with pytest.raises(PlanError, match=r"temperature 1.0, now 0.5; policy tiny, now openai http://x"):
        folder.check(other, resume=True)


def test_one_command_at_a_time(tmp_path: Path) -> None:
    with EvaluationFolder(tmp_path).held(), pytest.raises(PlanError, match="Another command is at work"):  # noqa: SIM117
        with EvaluationFolder(tmp_path).held():
            pass
    with EvaluationFolder(tmp_path).held():
        pass
