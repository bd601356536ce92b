"""The service's hyperparameters, by name, type and range (a leaf: the settings refuse others at synthesis).

The service would refuse them too, but only when a job is started. A test holds this table against the one
that the rehearsal trains with. One row of that is not here: the documentation lists `sampling_max_tokens` a
second time, for validation, and a name that only the rehearsal knows must not reach the service.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from infra.errors import nearest

Kind = Literal["integer", "number", "choice", "integers"]
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
ADVANTAGES = (
    "monte_carlo",
    "group_based",
    "group_based_per_turn",
    "rloo",
    "reinforce_pp",
    "reinforce_pp_baseline",
    "opo",
    "grpo_passk",
    "gpg",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """What a hyperparameter takes. The range is closed, save for `above`, which is an open lower end."""

    kind: Kind
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: tuple[int | str, ...] = ()

    def __str__(self) -> str:
        if self.choices:
            return f"one of {', '.join(map(str, self.choices))}"
        what = {"integer": "a whole number", "integers": "a list of different whole numbers"}
        words = [what.get(self.kind, "a number")]
        words += [f"above {self.above:g}"] if self.above is not None else []
        words += [f"from {self.low:g}"] if self.low is not None else []
        words += [f"to {self.high:g}"] if self.high is not None else []
        return " ".join(words)

    def takes(self, value: object) -> bool:
        """Whether the service would take a value: a number, or a number in a string."""
        if self.kind == "integers":
            items = _items(value)
            return bool(items) and len(set(items)) == len(items) and all(map(self._number, items))
        if self.kind == "choice":
            return value in self.choices
        return self._number(_number(value))

    def _number(self, number: float | None) -> bool:
        if number is None or (self.kind != "number" and number != int(number)):
            return False
        if self.choices:
            return number in self.choices
        return (
            (self.low is None or number >= self.low)
            and (self.high is None or number <= self.high)
            and (self.above is None or number > self.above)
        )


def _integer(low: float, high: float) -> Range:
    return Range(kind="integer", low=low, high=high)


def _real(low: float | None = None, high: float | None = None, above: float | None = None) -> Range:
    return Range(kind="number", low=low, high=high, above=above)


ROLLOUTS: Mapping[str, Range] = {
    "rollout_max_concurrency": _integer(32, 96),
    "rollout_timeout": _integer(300, 86400),
    "rollout_max_retries": _integer(1, 10),
}
SAMPLING: Mapping[str, Range] = {
    "temperature": _real(0, 2),
    "sampling_top_p": _real(0, 1),
    "sampling_max_tokens": _integer(512, 8192),
    "pass_k_values": Range(kind="integers", low=1, high=32),
    "success_threshold": _real(),
}
TRAINING: Mapping[str, Range] = {
    "global_batch_size": Range(kind="integer", choices=(32, 64, 128)),
    "group_size": _integer(2, 32),
    "advantage_method": Range(kind="choice", choices=ADVANTAGES),
    "loss_fn": Range(kind="choice", choices=("importance_sampling", "ppo", "cispo")),
    "clip_low_threshold": _real(0, 1),
    "clip_high_threshold": _real(1, 10),
    **SAMPLING,
    "max_epochs": _integer(1, 30),
    "max_steps": _integer(1, 1000),
    "val_every": _integer(0, 100),
    "lora_rank": _integer(16, 64),
    "lora_alpha": _integer(16, 128),
    "learning_rate": _real(above=0, high=1e-2),
    "adam_beta1": _real(0, 0.999999),
    "adam_beta2": _real(0, 0.999999),
    "eps": _real(above=0),
    "weight_decay": _real(0),
    "grad_clip_norm": _real(0),
    **ROLLOUTS,
    "max_steps_off_policy": _integer(0, 10),
}
EVALUATION: Mapping[str, Range] = {"eval_group_size": _integer(1, 32), **SAMPLING, **ROLLOUTS}
TABLES = {"training": TRAINING, "evaluation": EVALUATION}


def refusals(document: str, values: Mapping[str, object]) -> list[str]:
    """What is wrong with the hyperparameters of a document, a clause each.

    Args:
        document: `training` or `evaluation`.
        values: hyperparameters by name.
    """
    table = TABLES[document]
    found = []
    for name, value in values.items():
        if name not in table:
            # The names of other libraries are often the end of the service's: top_p, max_tokens.
            meant = next((known for known in table if known.endswith(f"_{name}")), name)
            hint = nearest(meant, table).removesuffix(".")
            found.append(f"{document}: unknown hyperparameter '{name}'.{hint}")
        elif not table[name].takes(value):
            found.append(f"{document}.{name}: {value!r} is not {table[name]}")
    return found


def unanswerable(evaluation: Mapping[str, object]) -> str | None:
    """pass@k needs k rollouts of a prompt, and the documentation names no default for their number."""
    ks = _items(evaluation.get("pass_k_values"))
    group = _number(evaluation.get("eval_group_size", 1))
    largest = max((k for k in ks if k is not None), default=0)
    if group is None or largest <= group:
        return None
    return f"evaluation.pass_k_values: pass@{largest:g} needs eval_group_size {largest:g} or more"


def flat(value: object) -> str:
    """A value as the evaluation document takes it: `[1,4]`, `0.5`."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(str, value))}]"
    return str(value)


def _number(value: object) -> float | None:
    if isinstance(value, str):
        value = float(value) if NUMBER.fullmatch(value) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _items(value: object) -> list[float | None]:
    """A list, or one written as a string: `[1,2,4]`."""
    if isinstance(value, str):
        value = [item.strip() for item in value.strip().removeprefix("[").removesuffix("]").split(",")]
    return [_number(item) for item in value] if isinstance(value, list | tuple) else []
