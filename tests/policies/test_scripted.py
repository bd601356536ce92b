"""The scripted policy plays its file."""

import json
from pathlib import Path
from typing import Any

import pytest

from rehearsal.policies.base import PolicyError, ServedPolicy, TrainablePolicy
from rehearsal.policies.scripted import ScriptedPolicy
from rehearsal.service.models import make_policy

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
SCRIPT: list[Any] = [{"content": None, "tool_calls": [CALL]}, {"content": "the answer"}]


def asked(answers: int) -> dict[str, Any]:
    turns = [{"role": "assistant", "content": "x"}, {"role": "user", "content": "go on"}]
    return {"messages": [{"role": "user", "content": "go"}, *(turns * answers)]}


async def test_the_nth_turn_is_the_nth_message(tmp_path: Path) -> None:
    path = tmp_path / "script.json"
    path.write_text(json.dumps(SCRIPT))
    policy: ServedPolicy = make_policy(f"scripted:{path}")
    first, second, third = [await policy.sample(asked(turn), seed=1) for turn in range(3)]
    assert first.message == {"role": "assistant", **SCRIPT[0]}
    assert first.finish_reason == "tool_calls"
    assert second.message == third.message == {"role": "assistant", **SCRIPT[1]}
    assert second.finish_reason == "stop"
    assert 0 < first.prompt_tokens < second.prompt_tokens
    assert not isinstance(policy, TrainablePolicy)
    await policy.close()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not valid JSON"),
        ('{"content": "x"}', "must be a JSON array"),
        ('["x"]', "must be a JSON array"),
        ("[]", "at least one"),
        (b"\xff", "is not valid JSON"),
    ],
)
def test_what_is_no_script(tmp_path: Path, text: Any, says: str) -> None:
    path = tmp_path / "script.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(PolicyError, match=says):
        ScriptedPolicy.from_file(str(path))


def test_a_script_that_is_not_there() -> None:
    with pytest.raises(PolicyError, match=r"Cannot read the script none\.json: No such file"):
        ScriptedPolicy.from_file("none.json")
