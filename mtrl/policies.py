"""Which policy plays: what a user may write for every command, what it is, and whether it answers."""

import asyncio
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.policies.base import PolicyError
from rehearsal.service.models import make_policy

ACCEPTED = "tiny, a checkpoint (or a rehearsal's folder), scripted:FILE, openai:URL, bedrock:MODEL"
"""What every `--policy` takes."""
CHECKPOINT = "checkpoint.json"
"""In a rehearsal's folder: the trained policy."""
_REMOTE = ("openai", "bedrock")
_KINDS = ("tiny", "scripted", *_REMOTE)
_QUESTION = {"messages": [{"role": "user", "content": "Say: ready."}], "max_tokens": 16}


@dataclass(frozen=True, slots=True)
class PolicyChoice:
    """A policy that can be made."""

    label: str
    """As the user wrote it."""
    spec: str
    """As the service takes it."""
    identity: Mapping[str, str]
    """What decides its answers: an evaluation is resumed only with the same."""

    @property
    def kind(self) -> str:
        return self.spec.partition(":")[0]

    @property
    def remote(self) -> bool:
        return self.kind in _REMOTE

    @property
    def trainable(self) -> bool:
        """Whether a training job can change it here."""
        return self.kind == "tiny"

    def service_environ(self) -> dict[str, str] | None:
        """The variables of the service's process; None for the usual ones, without real credentials."""
        if self.kind != "bedrock":
            return None
        return {name: value for name, value in os.environ.items() if not name.startswith("MTRL_")}


BASE = PolicyChoice("tiny", "tiny", {"kind": "tiny"})
"""What every rehearsal starts from."""


def choose(option: str, label: str) -> PolicyChoice:
    """The policy that `label` names; `option` is where it was written.

    Raises:
        PolicyError: it is none, or its file cannot be used; a whole sentence, the option in front.
    """
    spec = _spec(label)
    try:
        asyncio.run(make_policy(spec).close())
    except PolicyError as error:
        raise PolicyError(f"{option}: {_reworded(str(error), label)}") from None
    return PolicyChoice(label, spec, _identity(spec))


def ask(option: str, policy: PolicyChoice, temperature: float = 1.0) -> None:
    """Ask a remote policy for a few tokens, before hundreds of rollouts do.

    Raises:
        PolicyError: it does not answer; a whole sentence, as of `choose`.
    """

    async def once() -> None:
        served = make_policy(policy.spec)
        try:
            await served.sample({**_QUESTION, "temperature": temperature}, seed=0)
        finally:
            await served.close()

    if policy.remote:
        try:
            asyncio.run(once())
        except PolicyError as error:
            text = f"{option} {policy.label}: {_sentence(str(error))} Nothing was played."
            raise PolicyError(text) from None


def _spec(label: str) -> str:
    kind, separator, _ = label.partition(":")
    path = Path(label)
    if (separator and kind in _KINDS) or label == "tiny":
        return label
    if path.is_dir():
        return f"tiny:{(path / CHECKPOINT).resolve()}"
    if path.is_file() or path.suffix == ".json" or os.sep in label:
        return f"tiny:{path.resolve()}"
    return label


def _reworded(text: str, label: str) -> str:
    return f"Unknown policy {label!r}. Accepted: {ACCEPTED}." if text.startswith("Unknown policy") else text


def _identity(spec: str) -> dict[str, str]:
    kind, _, argument = spec.partition(":")
    if kind in ("tiny", "scripted") and argument:
        return {"kind": kind, "sha256": hashlib.sha256(Path(argument).read_bytes()).hexdigest()}
    found: dict[str, Any] = {"kind": kind, "of": argument}
    if kind == "openai":
        found["model"] = os.environ.get("OPENAI_MODEL", "")
    return {name: value for name, value in found.items() if value}


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."
