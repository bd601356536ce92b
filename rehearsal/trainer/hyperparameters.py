"""The documented hyperparameters of training and of evaluation: one table, and typed values.

A field of the two dataclasses below is a row of the table: its name, type, default, range and meaning.
The JSON schema that the stand-in serves and every check of a value come from these rows. Where the
documentation names no range, the row has the one that the mathematics gives, or none.
"""

import difflib
import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeAlias

Kind = Literal["integer", "number", "choice", "integers"]
Value: TypeAlias = int | float | str | tuple[int, ...]

STANDARD_K = (1, 2, 4, 8, 16, 32)
CISPO_CLIP = {"clip_low_threshold": 1.0, "clip_high_threshold": 6.0}
"""What the documentation gives for `cispo` beside PPO's bounds, whether as a default or as advice."""
MAX_PROBLEMS = 50
"""Reported for one document; what lies beyond is only counted as one more line."""
NUMBER = r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?"
"""A number written as a string, as a regular expression that Python and JSON Schema read alike."""
_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one hyperparameter: `name` as it was given, and a text for its author."""

    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.name}: {self.text}"


class HyperparameterError(ValueError):
    """The hyperparameters of a document are wrong; `problems` names every one of them."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One row of the table. The range is closed, save for `above`, which is an open lower end."""

    name: str
    kind: Kind
    default: Value
    meaning: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[int | str, ...] = ()

    @property
    def allowed(self) -> str:
        """The range or set in words."""
        if self.choices:
            return ", ".join(map(str, self.choices))
        what = {"integer": "a whole number", "number": "a number", "integers": "distinct whole numbers"}
        words = [what[self.kind]]
        words += [f"above {self.above:g}"] if self.above is not None else []
        words += [f"from {self.low:g}"] if self.low is not None else []
        words += [f"to {self.high:g}"] if self.high is not None else []
        return " ".join(words)

    def read(self, value: object) -> Value:
        """The typed value of what a document holds: a JSON number, or a number in a string.

        Raises:
            ValueError: with the value and the allowed range.
        """
        if self.kind == "integers":
            return self._integers(value)
        if self.kind == "choice":
            return self._chosen(value, value if isinstance(value, str) else None)
        number = _number(value)
        if number is None or (self.kind == "integer" and number != int(number)):
            raise ValueError(f"{shown(value)} is not allowed; allowed: {self.allowed}")
        if self.choices:
            return self._chosen(value, int(number))
        self._in_range(number, value)
        return int(number) if self.kind == "integer" else float(number)

    def _chosen(self, value: object, choice: int | str | None) -> int | str:
        if choice is not None and choice in self.choices:
            return choice
        near = nearest(choice, map(str, self.choices)) if isinstance(choice, str) else None
        guess = f"; did you mean {near!r}?" if near else ""
        raise ValueError(f"{shown(value)} is not allowed; allowed: {self.allowed}{guess}")

    def _in_range(self, number: float, value: object) -> None:
        text = shown(value)
        if self.high is not None and number > self.high:
            raise ValueError(f"{text} is more than the maximum {self.high:g}; allowed: {self.allowed}")
        if self.low is not None and number < self.low:
            raise ValueError(f"{text} is less than the minimum {self.low:g}; allowed: {self.allowed}")
        if self.above is not None and number <= self.above:
            raise ValueError(f"{text} is not above {self.above:g}; allowed: {self.allowed}")

    def _integers(self, value: object) -> tuple[int, ...]:
        items = _listed(value)
        if not items:
            raise ValueError(f'{shown(value)} is not a list such as "[1,2,4]"; allowed: {self.allowed}')
        found: set[int] = set()
        for item in items:
            number = _number(item)
            if number is None or number != int(number):
                raise ValueError(f"{shown(item)} is not a whole number; allowed: {self.allowed}")
            self._in_range(number, item)
            if int(number) in found:
                raise ValueError(f"{shown(item)} is there twice; allowed: {self.allowed}")
            found.add(int(number))
        return tuple(sorted(found))


def _row(
    default: Value,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[int | str, ...] = (),
) -> Any:
    """A dataclass field that carries its row of the table."""
    row = {"meaning": meaning, "low": low, "high": high, "above": above, "choices": choices}
    return field(default=default, metadata=row)


@dataclass(frozen=True, slots=True)
class TrainingHyperparameters:
    """What `TrainingConfig.HyperParameters` of an AgentRFT job holds, with the documented defaults."""

    global_batch_size: int = _row(128, "prompts in one training step", choices=(32, 64, 128))
    group_size: int = _row(8, "rollouts of each prompt", low=2, high=32)
    advantage_method: str = _row(
        "group_based",
        "how rewards become advantages",
        choices=(
            "monte_carlo",
            "group_based",
            "group_based_per_turn",
            "rloo",
            "reinforce_pp",
            "reinforce_pp_baseline",
            "opo",
            "grpo_passk",
            "gpg",
        ),
    )
    loss_fn: str = _row("ppo", "the policy-gradient loss", choices=("importance_sampling", "ppo", "cispo"))
    clip_low_threshold: float = _row(0.8, "smallest probability ratio that has a gradient", low=0, high=1)
    clip_high_threshold: float = _row(1.2, "largest probability ratio that has a gradient", low=1, high=10)
    temperature: float = _row(1.0, "sampling temperature of a rollout", low=0, high=2)
    sampling_top_p: float = _row(1.0, "nucleus of a rollout, as a probability mass", low=0, high=1)
    sampling_max_tokens: int = _row(4096, "tokens that one turn may sample", low=512, high=8192)
    # The documentation lists `sampling_max_tokens` once more, for validation; the prefix tells them apart.
    val_sampling_max_tokens: int = _row(
        4096, "tokens that one turn may sample in validation", low=512, high=8192
    )
    pass_k_values: tuple[int, ...] = _row(STANDARD_K, "k of pass@k in validation", low=1, high=32)
    success_threshold: float = _row(1.0, "a reward from here on is a success")
    max_epochs: int = _row(1, "passes over the data set", low=1, high=30)
    max_steps: int = _row(50, "training steps at most", low=1, high=1000)
    val_every: int = _row(10, "steps between two validations; 0 is never", low=0, high=100)
    lora_rank: int = _row(32, "rank of the adapter", low=16, high=64)
    lora_alpha: int = _row(64, "scale of the adapter, over its rank", low=16, high=128)
    learning_rate: float = _row(4e-5, "step size of Adam", above=0, high=1e-2)
    adam_beta1: float = _row(0.9, "decay of Adam's mean of gradients", low=0, high=0.999999)
    adam_beta2: float = _row(0.95, "decay of Adam's mean of squared gradients", low=0, high=0.999999)
    eps: float = _row(1e-8, "Adam's guard against a division by zero", above=0)
    weight_decay: float = _row(0.0, "decoupled decay of the weights", low=0)
    grad_clip_norm: float = _row(1.0, "largest norm of a gradient", low=0)
    rollout_max_concurrency: int = _row(96, "rollouts in flight", low=32, high=96)
    rollout_timeout: int = _row(600, "seconds for one rollout", low=300, high=86400)
    rollout_max_retries: int = _row(3, "attempts at a rollout that fails", low=1, high=10)
    max_steps_off_policy: int = _row(3, "age in steps of the oldest usable rollout", low=0, high=10)

    TABLE: ClassVar[Mapping[str, Hyperparameter]]

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> "TrainingHyperparameters":
        """Read `TrainingConfig.HyperParameters`: JSON numbers, or numbers in strings.

        With `loss_fn` cispo, clip bounds that are left out are `CISPO_CLIP`.

        Raises:
            HyperparameterError: names every hyperparameter that is unknown or out of its range.
        """
        values, problems = _read(cls.TABLE, document)
        if problems:
            raise HyperparameterError(problems)
        return cls(**(CISPO_CLIP | values if values.get("loss_fn") == "cispo" else values))


@dataclass(frozen=True, slots=True)
class EvaluationHyperparameters:
    """What `EvaluationConfig.HyperParameters` of an AgentRFTEvaluation job holds.

    The default group size is the stand-in's own: the documentation names none.
    """

    eval_group_size: int = _row(8, "rollouts of each prompt; no k of pass@k may exceed it", low=1, high=32)
    temperature: float = _row(1.0, "sampling temperature", low=0, high=2)
    sampling_top_p: float = _row(1.0, "nucleus, as a probability mass", low=0, high=1)
    sampling_max_tokens: int = _row(4096, "tokens that one turn may sample", low=512, high=8192)
    pass_k_values: tuple[int, ...] = _row(STANDARD_K[:4], "k of pass@k and pass^k", low=1, high=32)
    success_threshold: float = _row(1.0, "a reward from here on is a success")
    rollout_timeout: int = _row(600, "seconds for one rollout", low=300, high=86400)
    rollout_max_concurrency: int = _row(96, "rollouts in flight", low=32, high=96)
    rollout_max_retries: int = _row(3, "attempts at a rollout that fails", low=1, high=10)

    TABLE: ClassVar[Mapping[str, Hyperparameter]]

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> "EvaluationHyperparameters":
        """Read `EvaluationConfig.HyperParameters`: flat strings, which is all the service took.

        Without `pass_k_values`, the standard ones that the group size can answer are computed.

        Raises:
            HyperparameterError: names every hyperparameter that is unknown, no string, or out of range.
        """
        values, problems = _read(cls.TABLE, document, strings=True)
        group = values.get("eval_group_size", cls.TABLE["eval_group_size"].default)
        values.setdefault("pass_k_values", tuple(k for k in STANDARD_K if k <= group))
        if not problems and (largest := max(values["pass_k_values"])) > group:
            text = f"{group} is less than {largest}, the largest of pass_k_values: pass@k needs k rollouts"
            problems.append(Problem("eval_group_size", text))
        if problems:
            raise HyperparameterError(problems)
        return cls(**values)


def _table(of: type[TrainingHyperparameters] | type[EvaluationHyperparameters]) -> dict[str, Hyperparameter]:
    rows = {}
    for item in fields(of):
        default: Any = item.default
        rows[item.name] = Hyperparameter(item.name, _kind(default), default, **item.metadata)
    return rows


def _kind(default: object) -> Kind:
    if isinstance(default, str):
        return "choice"
    if isinstance(default, tuple):
        return "integers"
    return "integer" if isinstance(default, int) else "number"


TrainingHyperparameters.TABLE = _table(TrainingHyperparameters)
EvaluationHyperparameters.TABLE = _table(EvaluationHyperparameters)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that contains it, else one that is spelt alike."""
    names = list(known)
    inside = [other for other in names if len(name) > 2 and (name in other or other in name)]
    if inside:
        return min(inside, key=lambda other: abs(len(other) - len(name)))
    close = difflib.get_close_matches(name, names, n=1)
    return close[0] if close else None


def shown(value: object) -> str:
    """A value as it stands in a message: scalars in JSON spelling and cut, containers by their kind."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _read(
    table: Mapping[str, Hyperparameter], document: Mapping[str, object], *, strings: bool = False
) -> tuple[dict[str, Any], list[Problem]]:
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in document.items():
        if len(problems) == MAX_PROBLEMS:
            problems.append(Problem("…", "and more"))
            break
        try:
            values[name] = _one(table, name, value, strings)
        except ValueError as error:
            problems.append(Problem(name[:_SHOWN_CHARS], str(error)))
    return values, problems


def _one(table: Mapping[str, Hyperparameter], name: str, value: object, strings: bool) -> Value:
    row = table.get(name)
    if row is None:
        nested = " (nested objects are refused: write flat names)" if isinstance(value, dict) else ""
        near = nearest(name, table)
        hint = f"did you mean {near!r}?" if near else f"known: {', '.join(table)}"
        raise ValueError(f"is unknown{nested}; {hint}")
    if strings and not isinstance(value, str) and not (row.kind == "integers" and isinstance(value, list)):
        raise ValueError(f"{shown(value)} must be a string, such as {_spelt(row.default)!r}")
    return row.read(value)


def _spelt(default: Value) -> str:
    return f"[{','.join(map(str, default))}]" if isinstance(default, tuple) else str(default)


def _number(value: object) -> int | float | None:
    if isinstance(value, str):
        # float() would also take "nan", "1_000" and the digits of other scripts.
        value = float(value) if re.fullmatch(NUMBER, value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        return None
    return value


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer too large for a float
        return False


def _listed(value: object) -> list[object]:
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("[") and text.endswith("]"):
            text = text[1:-1]
        return [item.strip() for item in text.split(",")] if text.strip() else []
    return list(value) if isinstance(value, list | tuple) else []
