"""The desk as a Strands agent; shared by the two peers that are built on Strands."""

import json
from collections.abc import Mapping
from typing import Any

from strands import Agent
from strands.tools.decorator import tool

from bench.load import world


def task_of(payload: Mapping[str, Any]) -> dict[str, Any]:
    task: dict[str, Any] = json.loads(payload["prompt"])["input"]
    return task


async def play(model: Any, task: Mapping[str, Any]) -> str:
    """One episode; the final answer."""
    agent = Agent(
        model=model,
        tools=[_tool(spec["function"], task["result_bytes"]) for spec in world.tools()],
        system_prompt=world.system_text(),
        callback_handler=None,
    )
    result = await agent.invoke_async(world.user_text(task["case"]))
    return "".join(block["text"] for block in result.message["content"] if "text" in block)


def _tool(function: Mapping[str, Any], result_bytes: int) -> Any:
    def run(return_id: str = "") -> str:
        return world.call(function["name"], {"return_id": return_id}, result_bytes)

    made = tool(
        name=function["name"],
        description=function["description"],
        inputSchema={"json": function["parameters"]},
    )
    return made(run)
