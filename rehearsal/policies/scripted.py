"""The scripted policy: plays assistant messages from a file. For tests and demonstrations."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rehearsal.policies.base import PolicyError, Sampled


class ScriptedPolicy:
    """Answers the n-th turn of every rollout with the n-th message of its script (the last one repeats)."""

    def __init__(self, messages: Sequence[Mapping[str, Any]]) -> None:
        if not messages:
            raise PolicyError("A script needs at least one assistant message.")
        self._messages = [{"role": "assistant", **message} for message in messages]

    @classmethod
    def from_file(cls, path: str) -> "ScriptedPolicy":
        """Read a JSON array of assistant messages.

        Raises:
            PolicyError: the file cannot be read, or is no such array.
        """
        try:
            messages = json.loads(Path(path).read_text(encoding="utf-8"))
        except OSError as error:
            raise PolicyError(f"Cannot read the script {path}: {error.strerror}.") from None
        except ValueError as error:
            raise PolicyError(f"The script {path} is not valid JSON: {error}.") from None
        if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
            raise PolicyError(f"The script {path} must be a JSON array of assistant messages.")
        return cls(messages)

    async def sample(self, request: Mapping[str, Any], seed: int) -> Sampled:
        turn = sum(m.get("role") == "assistant" for m in request["messages"])
        message = self._messages[min(turn, len(self._messages) - 1)]
        finish = "tool_calls" if message.get("tool_calls") else "stop"
        return Sampled(message, finish, len(str(request["messages"])) // 4, len(str(message)) // 4)

    async def close(self) -> None:
        return None
