"""What the tests of the agents share."""

from pathlib import Path

import pytest

from rehearsal.service.agents import Agent, AgentError

PAYLOAD = {"prompt": "hello ü", "metadata": {"rolloutId": "r-1"}}


async def refused(agent: Agent, seconds: float = 10) -> AgentError:
    """The error of one call; the agent is closed."""
    with pytest.raises(AgentError) as info:
        await agent.invoke(PAYLOAD, timeout=seconds)
    await agent.close()
    assert len(str(info.value)) <= 500
    return info.value


def handler_file(tmp_path: Path, body: str, name: str = "handler") -> Path:
    """A handler file whose function has the one line `body`."""
    path = tmp_path / "handler.py"
    path.write_text(f"import os, sys, time\ndef {name}(event, context):\n    {body}\n")
    return path
