"""An evaluation on disk: what it is, what was played of it so far, and what it came to.

    configuration.json   all that decides the numbers; written first
    policies/<n>/<run>/  one folder a run of a policy: tasks.jsonl, adapter.log, transcripts/, …
    evaluation.json      the result; there once everything was played
    transcripts.jsonl, report.html

Nothing is copied when a run ends: what its adapter logged is what counts, so a killed command loses no
finished rollout.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from mtrl.evaluating.rollouts import Rollout, complete, filled, read_rollouts
from mtrl.rehearsing.holding import held
from mtrl.rehearsing.plan import PlanError
from mtrl.rehearsing.processes import read_json_lines

CONFIGURATION = "configuration.json"
RESULT = "evaluation.json"
REPORT = "report.html"
TRANSCRIPTS = "transcripts.jsonl"
TASKS = "tasks.jsonl"
LOG = "adapter.log"
JOB = "evaluation"
"""Name of the job of each run, and of its file in the archive of transcripts."""


class EvaluationFolder:
    """One evaluation's folder, which one command at a time works in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, configuration: Mapping[str, Any], *, resume: bool) -> None:
        """Whether an evaluation may start here, or go on.

        Raises:
            PlanError: there is an unfinished evaluation, another one, or none, and what to do.
        """
        known = self._configuration()
        if resume:
            self._check_same(known, configuration)
            return
        if known is not None and not (self.path / RESULT).exists():
            raise PlanError(
                f"{self.path} holds an unfinished evaluation. Go on with it by --resume, choose another "
                "--out, or remove the folder."
            )

    def clear(self, configuration: Mapping[str, Any]) -> None:
        """Start anew: a finished evaluation that lies here is replaced."""
        shutil.rmtree(self.path / "policies", ignore_errors=True)
        for name in (CONFIGURATION, RESULT, REPORT, TRANSCRIPTS):
            (self.path / name).unlink(missing_ok=True)
        self.write(CONFIGURATION, json.dumps(configuration, indent=2) + "\n")

    def held(self) -> AbstractContextManager[None]:
        """Keep other commands out. Raises PlanError if one is in, or the folder cannot be made."""
        return held(self.path)

    def new_run(self, policy: int, tasks: Mapping[str, str]) -> Path:
        """A folder for a run of these tasks, with their data set in it."""
        number = len(self._runs(policy)) + 1
        folder = self.path / "policies" / str(policy) / str(number)
        folder.mkdir(parents=True)
        lines = (json.dumps({"prompt": p, "id": i}, ensure_ascii=False) + "\n" for i, p in tasks.items())
        # Complete or not there: a run without its data set could not be read.
        draft = folder / f".{TASKS}"
        draft.write_text("".join(lines), encoding="utf-8")
        draft.rename(folder / TASKS)
        return folder

    def finished(self, policy: int, group: int) -> set[str]:
        """The ids of tasks of which every rollout was played."""
        runs = [self._rollouts(run) for run in self._runs(policy)]
        return {task for run in runs for task, members in run.items() if complete(members, group)}

    def rollouts(
        self, policy: int, tasks: Sequence[str], group: int
    ) -> dict[str, list[tuple[Path, Rollout]]]:
        """Each task's group, with the run it is from: the last that was played whole, else the last one."""
        runs = [(run, self._rollouts(run)) for run in self._runs(policy)]
        chosen: dict[str, list[tuple[Path, Rollout]]] = {}
        for task in tasks:
            having = [(run, found[task]) for run, found in runs if task in found]
            whole = [each for each in having if complete(each[1], group)]
            run, members = (whole or having or [(self.path, {})])[-1]
            chosen[task] = [(run, rollout) for rollout in filled(task, members, group)]
        return chosen

    def transcripts(self, chosen: Mapping[str, Sequence[tuple[Path, Rollout]]]) -> list[dict[str, Any]]:
        """The archived records of the rollouts that count, each with its task."""
        wanted = {(run, r.id): r.task for group in chosen.values() for run, r in group}
        found: dict[tuple[Path, str], dict[str, Any]] = {}
        for run in dict.fromkeys(run for run, _ in wanted):
            archive = run / "transcripts" / f"{JOB}.jsonl"
            for record in read_json_lines(archive) if archive.exists() else ():
                key = (run, record["rollout_id"])
                if key in wanted:
                    found[key] = {"task": wanted[key], **record}
        return [found[key] for key in wanted if key in found]

    def write(self, name: str, text: str) -> Path:
        """Write a file as a whole, or leave the old one."""
        draft, path = self.path / f".{name}", self.path / name
        draft.write_text(text, encoding="utf-8")
        return draft.rename(path)

    def _runs(self, policy: int) -> list[Path]:
        folder = self.path / "policies" / str(policy)
        runs = [run for run in folder.iterdir() if (run / TASKS).exists()] if folder.is_dir() else []
        return sorted(runs, key=lambda run: int(run.name))

    def _rollouts(self, run: Path) -> dict[str, dict[int, Rollout]]:
        return read_rollouts(run / LOG, [row["id"] for row in read_json_lines(run / TASKS)])

    def _configuration(self) -> dict[str, Any] | None:
        try:
            known = json.loads((self.path / CONFIGURATION).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise PlanError(
                f"{self.path / CONFIGURATION} cannot be read: {error}. Remove the folder."
            ) from None
        return known if isinstance(known, dict) else {}

    def _check_same(self, known: Mapping[str, Any] | None, asked: Mapping[str, Any]) -> None:
        if known is None:
            raise PlanError(
                f"--resume: there is no evaluation in {self.path}. Leave --resume out to start one."
            )
        other = [name for name in asked if known.get(name) != asked[name]]
        if other:
            pairs = "; ".join(
                f"{name} {_shown(known.get(name))}, now {_shown(asked[name])}" for name in other
            )
            raise PlanError(
                f"--resume: the evaluation in {self.path} is another one ({pairs}). "
                "Give its options, or choose another --out."
            )


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(str(part)[:12] for part in value.values()) or "none"
    return str(value)[:12] if isinstance(value, str) and len(value) == 64 else str(value)
