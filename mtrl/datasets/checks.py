"""What must hold of a data set before a job trains on it. Each check: what was found, and the next act.

Offline, and nothing is opened: targets are compared, counted and measured as they lie there. No evidence
quotes an input or a target.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any, Literal

from adapters.contract import RequestError, Task
from adapters.runtime.sealing import check_envelope, is_sealed
from mtrl.datasets.rows import Row, same, same_ids, shown
from mtrl.wording import counted

CHARS_PER_TOKEN = 4
"""A usual ratio for English text and JSON; an estimate, no tokenizer."""
RECOMMENDED = 10
"""Times global_batch_size."""
CLAIM_CHECK_BYTES, LARGEST_BYTES = 900 * 1024, 8 * 1024 * 1024
"""From the first on, a request goes over S3; above the second, the adapter's HTTP entrypoint takes none."""
TRAINING = "train"

Status = Literal["pass", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the table."""

    id: str
    status: Status
    evidence: str
    next: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the data set is held against."""

    batch: int = 128
    """global_batch_size."""
    max_tokens: int = 4096
    """sampling_max_tokens: of one turn."""
    context_tokens: int | None = None
    """The model's context, if it is known."""
    require_sealed: bool = False


@dataclass(frozen=True, slots=True)
class DataSet:
    """The splits by name, in their order."""

    splits: Mapping[str, Sequence[Row]]

    @property
    def rows(self) -> list[Row]:
        return [row for rows in self.splits.values() for row in rows]

    @property
    def training(self) -> str:
        """The split that a job trains on: the one so named, or the first."""
        return TRAINING if TRAINING in self.splits else next(iter(self.splits))


def check(data: DataSet, rules: Rules) -> list[Check]:
    """Every check, in the order of the table."""
    return [each(data, rules) for each in CHECKS]


def as_json(found: Check) -> dict[str, Any]:
    """The check for `--json`."""
    return asdict(found)


def _tasks(data: DataSet, rules: Rules) -> Check:
    texts = [row for row in data.rows if row.is_text]
    without = [row for row in data.rows if not row.is_text and row.task.target is None]
    if texts:
        next_act = "An adapter passes text on as the input. Make tasks of it with `mtrl dataset build`."
        return Check("tasks", "warn", f"{_some(texts)} plain text and no task", next_act)
    if without:
        next_act = "Give each task a `target`, unless its environment grades without."
        return Check("tasks", "warn", f"{_some(without)} without a target", next_act)
    return Check("tasks", "pass", f"{counted(len(data.rows), 'row')}, tasks with a target")


def _ids(data: DataSet, rules: Rules) -> Check:
    repeated = [group for rows in data.splits.values() for group in same_ids(rows)]
    if repeated:
        next_act = "Give each task an id of its own."
        return Check("ids", "fail", f"{len(repeated)} ids are used twice: {shown(repeated)}", next_act)
    without = [row for row in data.rows if not row.task.id]
    if without:
        return Check("ids", "warn", f"{_some(without)} without an id", "`mtrl dataset build` gives ids.")
    return Check("ids", "pass", f"{len(data.rows)} ids, each used once in its split")


def _duplicates(data: DataSet, rules: Rules) -> Check:
    groups = [group for rows in data.splits.values() for group in same(rows)]
    if not groups:
        return Check("duplicates", "pass", "no two rows of a split have the same input")
    against = [group for group in groups if _contradicts(group)]
    more = f", {len(against)} of them with different targets" if against else ""
    evidence = f"{len(groups)} inputs are repeated{more}: {shown(groups)}"
    return Check("duplicates", "fail", evidence, "Remove them: `mtrl dataset build` leaves them out.")


def _leakage(data: DataSet, rules: Rules) -> Check:
    leaks = []
    for (one, rows), (other, more) in combinations(data.splits.items(), 2):
        shared = {row.content for row in rows} & {row.content for row in more}
        ids = {row.task.id for row in rows if row.task.id} & {row.task.id for row in more}
        if shared or ids:
            leaks.append(f"{one} and {other} share {len(shared)} inputs and {len(ids)} ids")
    if leaks:
        next_act = "Divide the rows anew, together: `mtrl dataset split`."
        return Check("leakage", "fail", "; ".join(leaks), next_act)
    count = len(data.splits)
    return Check("leakage", "pass", f"{count} splits share nothing" if count > 1 else "one split alone")


def _sealed(data: DataSet, rules: Rules) -> Check:
    sealed = [row for row in data.rows if is_sealed(row.task.target)]
    plain = [row for row in data.rows if row.task.target is not None and not is_sealed(row.task.target)]
    if broken := [row for row in sealed if _broken(row.task)]:
        return Check("sealed", "fail", f"{_some(broken)} with a malformed seal", "Seal the rows again.")
    if plain:
        status: Status = "fail" if rules.require_sealed else "warn"
        return Check("sealed", status, f"{_some(plain)} with a target in clear", "Seal: `mtrl dataset seal`.")
    kids = Counter(row.task.target["sealed"]["kid"] for row in sealed)
    keys = ", ".join(f"{count} with key {kid}" for kid, count in sorted(kids.items())) or "none to seal"
    return Check("sealed", "pass", f"no target in clear ({keys})")


def _batch(data: DataSet, rules: Rules) -> Check:
    name, batch = data.training, rules.batch
    rows = len(data.splits[name])
    evidence = f"{name}: {counted(rows, 'row')}, global_batch_size {batch}"
    if rows < batch:
        return Check(
            "batch", "fail", evidence, f"Add {counted(batch - rows, 'row')}, or lower global_batch_size."
        )
    if rows < RECOMMENDED * batch:
        next_act = f"The service recommends {RECOMMENDED} x the batch: {RECOMMENDED * batch} rows."
        return Check("batch", "warn", evidence, next_act)
    return Check("batch", "pass", evidence)


def _prompt_size(data: DataSet, rules: Rules) -> Check:
    row = max(data.rows, key=lambda row: len(row.prompt.encode()))
    size = len(row.prompt.encode())
    evidence = f"the largest prompt is {size:,} bytes ({row.where})"
    if size >= LARGEST_BYTES:
        return Check("prompt_size", "fail", evidence, "An adapter takes no request above 8 MiB. Shorten it.")
    if size >= CLAIM_CHECK_BYTES:
        return Check("prompt_size", "warn", evidence, "Above 900 KiB a request goes over S3. Shorten it.")
    return Check("prompt_size", "pass", evidence)


def _tokens(data: DataSet, rules: Rules) -> Check:
    row = max(data.rows, key=lambda row: len(_without_target(row)))
    tokens = math.ceil(len(_without_target(row)) / CHARS_PER_TOKEN)
    evidence = f"the largest input is about {tokens:,} tokens (estimate: characters / 4; {row.where})"
    if rules.context_tokens is None:
        next_act = (
            "Compare it with the model's context: --context-tokens. System prompt and tools come on top."
        )
        return Check("tokens", "pass", evidence, next_act)
    needed = tokens + rules.max_tokens
    evidence += f"; with one turn of {rules.max_tokens:,} {needed:,} of {rules.context_tokens:,}"
    if needed > rules.context_tokens:
        return Check("tokens", "fail", evidence, "Shorten the input, or lower sampling_max_tokens.")
    if 2 * needed > rules.context_tokens:
        return Check("tokens", "warn", evidence, "Little is left for further turns and tool results.")
    return Check("tokens", "pass", evidence)


CHECKS: tuple[Callable[[DataSet, Rules], Check], ...] = (
    _tasks, _ids, _duplicates, _leakage, _sealed, _batch, _prompt_size, _tokens,
)  # fmt: skip


def _some(rows: Iterable[Row]) -> str:
    listed = list(rows)
    return f"{counted(len(listed), 'row')} (first: {listed[0].where})"


def _contradicts(group: Sequence[Row]) -> bool:
    plain = [row.task.target for row in group if not is_sealed(row.task.target)]
    return any(target != plain[0] for target in plain)


def _broken(task: Task) -> bool:
    try:
        check_envelope(task.target)
    except RequestError:
        return True
    return False


def _without_target(row: Row) -> str:
    return row.prompt if row.is_text else Task(row.task.id, row.task.environment, row.task.input).to_prompt()
