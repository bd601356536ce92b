"""Sampling, log-probabilities and gradients of the tiny policy, by hand in numpy."""

import json
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehearsal.policies.base import Sampled
from rehearsal.policies.tiny import choices
from rehearsal.policies.tiny.choices import SECTIONS, Choice, Matrix, Standing
from rehearsal.policies.tiny.prior import prior_weights
from rehearsal.policies.tiny.reading import Tool, View, read

CHARS_PER_TOKEN = 4
"""The policy has no tokenizer: token counts are characters over four."""

_OFFSETS: dict[str, slice] = {}
_at = 0
for _name, _features in SECTIONS.items():
    _OFFSETS[_name] = slice(_at, _at + len(_features))
    _at += len(_features)
SIZE = _at
"""Number of parameters."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One softmax draw: the features of its candidates (n x d), and which one was drawn."""

    section: str
    features: Matrix
    drawn: int
    inverse_temperature: float


Trace = tuple[Decision, ...]


class TinyPolicy:
    """A softmax-linear policy over tool calls and answers; see the package docstring."""

    def __init__(self, parameters: NDArray[np.float64] | None = None) -> None:
        self._w = prior_weights(SECTIONS) if parameters is None else parameters.astype(np.float64).copy()

    @property
    def parameters(self) -> NDArray[np.float64]:
        return self._w.copy()

    def load(self, parameters: NDArray[np.float64]) -> None:
        if parameters.shape != (SIZE,):
            raise ValueError(f"the tiny policy has {SIZE} parameters, not {parameters.shape}")
        self._w = parameters.astype(np.float64).copy()

    async def close(self) -> None:
        return None

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        """Sample one turn. Honours temperature, top_p (per decision) and max_tokens."""
        draw = _Draw(self._w, random.Random(seed), request)  # noqa: S311 - sampling, not secrets
        message = _turn(read(request), draw, seed)
        return _finish(request, message, draw)

    def log_probs(self, traces: Sequence[Trace]) -> NDArray[np.float64]:
        return np.array([sum(self._log_prob(d) for d in trace) for trace in traces])

    def gradient(self, traces: Sequence[Trace], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.zeros(SIZE)
        for trace, coefficient in zip(traces, coefficients, strict=True):
            if coefficient == 0.0:
                continue
            for d in trace:
                part = _OFFSETS[d.section]
                p = _softmax(d.features @ self._w[part] * d.inverse_temperature)
                total[part] += (coefficient * d.inverse_temperature) * (d.features[d.drawn] - p @ d.features)
        return total

    def _log_prob(self, d: Decision) -> float:
        logits = d.features @ self._w[_OFFSETS[d.section]] * d.inverse_temperature
        return float(logits[d.drawn] - _log_sum_exp(logits))


class _Draw:
    """Draws candidates for one turn, and keeps the trace."""

    def __init__(self, weights: NDArray[np.float64], rng: random.Random, request: Mapping[str, Any]) -> None:
        self._w = weights
        self._rng = rng
        temperature = _number(request.get("temperature"), 1.0)
        self._greedy = temperature <= 1e-6
        self._inverse = 1.0 if self._greedy else 1.0 / temperature
        self._top_p = _number(request.get("top_p"), 1.0)
        self.trace: list[Decision] = []
        self.logprob = 0.0

    def __call__(self, choice: Choice) -> Any:
        logits = choice.features @ self._w[_OFFSETS[choice.section]] * self._inverse
        top = logits.max()
        e = np.exp(logits - top)
        total = e.sum()
        drawn = int(logits.argmax()) if self._greedy else self._pick(e / total)
        self.trace.append(Decision(choice.section, choice.features, drawn, self._inverse))
        self.logprob += float(logits[drawn] - top) - math.log(total)
        return choice.candidates[drawn]

    def _pick(self, p: NDArray[np.float64]) -> int:
        if self._top_p < 1.0:
            order = np.argsort(-p)
            keep = order[: int(np.searchsorted(np.cumsum(p[order]), self._top_p)) + 1]
            nucleus = np.zeros_like(p)
            nucleus[keep] = p[keep] / p[keep].sum()
            p = nucleus
        return min(int(p.cumsum().searchsorted(self._rng.random())), len(p) - 1)


def _turn(view: View, draw: _Draw, seed: int) -> dict[str, Any]:
    standing = Standing(view)
    act = draw(choices.action(standing))
    if act is None:
        return _answer(view, standing, draw)
    if isinstance(act, choices.Ask):
        return {"role": "assistant", "content": f"Please tell me your {act.name}."}
    return _call(standing, act, draw, seed)


def _call(standing: Standing, tool: Tool, draw: _Draw, seed: int) -> dict[str, Any]:
    style = draw(choices.form())
    arguments = {}
    for name in tool.required:
        choice = choices.argument(standing, tool, name)
        if choice is not None:
            arguments[name] = draw(choice)
    if style == "text":
        return {"role": "assistant", "content": json.dumps({"name": tool.name, "arguments": arguments})}
    function = {"name": tool.name, "arguments": json.dumps(arguments)}
    call = {"id": f"call_{seed & 0xFFFFFFFFFF:010x}", "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _answer(view: View, standing: Standing, draw: _Draw) -> dict[str, Any]:
    style = draw(choices.wrapping())
    values = {f.name: choices.json_text(draw(choices.field_value(standing, f))) for f in view.fields}
    body = json.dumps(values)
    if style == "prose":
        text = "I have finished: " + "; ".join(f"{name} is {value}" for name, value in values.items()) + "."
    else:
        before, after = _WRAPPERS[style]
        text = f"{before}{body}{after}"
    return {"role": "assistant", "content": text}


_WRAPPERS = {
    "final_output_tag": ("<final_output>", "</final_output>"),
    "code_fence": ("```json\n", "\n```"),
    "bare_json": ("", ""),
    "other_tag": ("<final_response>", "</final_response>"),
}


def _finish(request: Mapping[str, Any], message: dict[str, Any], draw: _Draw) -> Sampled:
    text = message.get("content") or message["tool_calls"][0]["function"]["arguments"]
    tokens = max(1, math.ceil(len(text) / CHARS_PER_TOKEN))
    finish = "tool_calls" if message.get("tool_calls") else "stop"
    limit = request.get("max_tokens") or request.get("max_completion_tokens")
    if isinstance(limit, int) and tokens > limit:
        message = {"role": "assistant", "content": text[: limit * CHARS_PER_TOKEN]}
        tokens, finish = limit, "length"
    prompt = sum(len(m.get("content") or "") for m in request["messages"] if isinstance(m, dict))
    return Sampled(message, finish, prompt // CHARS_PER_TOKEN, tokens, draw.logprob, tuple(draw.trace))


def _softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    e = np.exp(logits - logits.max())
    return np.asarray(e / e.sum())


def _log_sum_exp(logits: NDArray[np.float64]) -> float:
    top = float(logits.max())
    return top + math.log(float(np.exp(logits - top).sum()))


def _number(value: Any, default: float) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
