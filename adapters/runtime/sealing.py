"""Sealed ground truth: made by `mtrl dataset seal`, opened here, right before an environment gets its task.

A sealed target is {"sealed": {"v", "alg", "kid", "set", "nonce", "data"}}. All but the data is in clear and
authenticated, together with the task's id: what is sealed opens for no other task, data set or key.

Laws: the opened value goes to `Environment.open` and nowhere else; no error that a caller or a log sees holds
a word that was made with an opened value in reach.
"""

import base64
import binascii
import json
import os
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from types import TracebackType
from typing import Any, Literal

from adapters.contract import Environment, Episode, RequestError, Task
from adapters.runtime.seal_keys import KEY_ID, KeyRing

SEALED = "sealed"
VERSION = 1
ALGORITHM = "A256GCM"
NONCE_BYTES = 12
PADDING = 256
"""Plain targets are filled up to a multiple of this: the length of a label would tell which one it is."""
FIELDS = ("v", "alg", "kid", "set", "nonce", "data")
FIELD = f"prompt.target.{SEALED}"


def is_sealed(target: object) -> bool:
    """Whether a target has the form of a sealed one, however good its content is."""
    return isinstance(target, Mapping) and set(target) == {SEALED} and isinstance(target[SEALED], Mapping)


def seal(target: Any, *, dataset: str, task_id: str, kid: str, key: bytes) -> dict[str, Any]:
    """The sealed form of a target, under a nonce of its own."""
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    plain = json.dumps(target, ensure_ascii=False, separators=(",", ":")).encode()
    plain += b" " * (-len(plain) % PADDING)
    nonce = os.urandom(NONCE_BYTES)
    data = AESGCM(key).encrypt(nonce, plain, _bound(kid, dataset, task_id))
    return {
        SEALED: {
            "v": VERSION,
            "alg": ALGORITHM,
            "kid": kid,
            "set": dataset,
            "nonce": base64.b64encode(nonce).decode(),
            "data": base64.b64encode(data).decode(),
        }
    }


def open_target(target: Mapping[str, Any], task_id: str, keys: KeyRing) -> Any:
    """The value that was sealed.

    Raises:
        RequestError: it is malformed, sealed with a key we lack, or not what was sealed for this task.
            Names the key id, never the data.
    """
    envelope = check_envelope(target)
    kid = envelope["kid"]
    if not keys.keys:
        raise RequestError(FIELD, f"needs key {kid!r}, and there are no keys here (MTRL_SEAL_KEYS)")
    key = keys.keys.get(kid)
    if key is None:
        raise RequestError(FIELD, f"needs key {kid!r}, which is not in the key ring (MTRL_SEAL_KEYS)")
    return _decrypt(envelope, task_id, key)


def opened(task: Task, keys: KeyRing) -> Task:
    """The task with its target open; the task itself if it is not sealed. Raises as `open_target`."""
    return replace(task, target=open_target(task.target, task.id, keys)) if is_sealed(task.target) else task


class OpeningEnvironment:
    """An environment that gets sealed tasks opened. Implements `contract.Environment`."""

    def __init__(self, environment: Environment, keys: KeyRing) -> None:
        self._environment = environment
        self._keys = keys

    @property
    def name(self) -> str:
        return self._environment.name

    @property
    def max_turns(self) -> int:
        return self._environment.max_turns

    @property
    def replay(self) -> Literal["reexecute", "none"]:
        return self._environment.replay

    def open(self, task: Task) -> AbstractAsyncContextManager[Episode]:
        if not is_sealed(task.target):
            return self._environment.open(task)
        return _Opening(self._environment, opened(task, self._keys))


class _Opening(AbstractAsyncContextManager[Episode]):
    """Opens an episode of a task that was sealed, and keeps back what the environment says against it."""

    def __init__(self, environment: Environment, task: Task) -> None:
        self._environment = environment
        self._task = task

    async def __aenter__(self) -> Episode:
        try:
            self._episode = self._environment.open(self._task)
            return await self._episode.__aenter__()
        except RequestError as error:
            refusal = _without_words(error)
        raise refusal  # outside of the handler: the words would come along as its context

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._episode.__aexit__(kind, error, trace)


def _without_words(error: RequestError) -> RequestError:
    """A refusal goes to callers, logs and the dead-letter queue; its words may quote the target."""
    field = "prompt.target" if error.field.startswith("prompt.target") else "prompt"
    problem = "is refused by the environment; why is kept back, because the task's target is sealed"
    return RequestError(field, f"{problem} (`mtrl dataset open` shows it to a key holder)")


def _bound(kid: str, dataset: str, task_id: str) -> bytes:
    """What is authenticated with the data. JSON, so that no two lists of names give the same bytes."""
    names = ["mtrl-sealed", VERSION, ALGORITHM, kid, dataset, task_id]
    return json.dumps(names, separators=(",", ":")).encode()


def check_envelope(target: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a sealed target holds. Raises RequestError if it is malformed; opens nothing."""
    envelope: Mapping[str, Any] = target[SEALED]
    for name in FIELDS:
        if name not in envelope:
            raise RequestError(f"{FIELD}.{name}", "is missing")
    if len(envelope) > len(FIELDS):
        raise RequestError(FIELD, f"must have {', '.join(FIELDS)} and nothing else")
    if envelope["v"] != VERSION or envelope["alg"] != ALGORITHM:
        raise RequestError(FIELD, f"must be of v {VERSION} and alg {ALGORITHM}; this adapter knows no other")
    if not isinstance(envelope["kid"], str) or not KEY_ID.fullmatch(envelope["kid"]):
        raise RequestError(
            f"{FIELD}.kid", "is no key id (1 to 64 letters, digits, dots, dashes, underscores)"
        )
    if not isinstance(envelope["set"], str):
        raise RequestError(f"{FIELD}.set", "must be a string")
    return envelope


def _decrypt(envelope: Mapping[str, Any], task_id: str, key: bytes) -> Any:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    nonce, data = _base64(envelope, "nonce"), _base64(envelope, "data")
    if len(nonce) != NONCE_BYTES:
        raise RequestError(f"{FIELD}.nonce", f"must be {NONCE_BYTES} bytes in base64")
    try:
        plain = AESGCM(key).decrypt(nonce, data, _bound(envelope["kid"], envelope["set"], task_id))
        return json.loads(plain)
    except (InvalidTag, ValueError, RecursionError):
        pass  # raised below: a JSON error carries the text that it was about
    kid = envelope["kid"]
    raise RequestError(
        FIELD, f"does not open with key {kid!r}: it was changed, or sealed for another task, data set or key"
    )


def _base64(envelope: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(envelope[name], validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise RequestError(f"{FIELD}.{name}", "is no base64") from None
