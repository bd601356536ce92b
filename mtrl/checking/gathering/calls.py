"""Calls every tool with wrong arguments, past the validation that the runtime puts before it."""

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any

from adapters.contract import Episode, Task, ToolResult
from mtrl.checking.evidence import Evidence, Mistake, tool_names

SECONDS = 10.0
NOT_A_TOOL = "no_such_tool"


async def make_mistakes(evidence: Evidence) -> None:
    """One episode a mistake: a tool that broke must not be blamed for the next one."""
    if not evidence.openings:
        return
    first = evidence.openings[0]
    for tool in first.tools:
        name, schema = str(tool["function"]["name"]), tool["function"].get("parameters") or {}
        for what, arguments in wrong_arguments(schema):
            await _make(evidence, first.task, name, what, arguments)
    if NOT_A_TOOL not in tool_names(first.tools):
        await _make(evidence, first.task, NOT_A_TOOL, "a name that is no tool's", {})


async def _make(evidence: Evidence, task: Task, name: str, what: str, arguments: dict[str, Any]) -> None:
    try:
        async with evidence.subject.environment.open(task) as episode:
            evidence.mistakes.append(await _made(episode, name, what, arguments))
    except Exception as error:  # noqa: BLE001 - an environment may raise anything; other checks say so
        evidence.faults.append(f"an episode of {task.id}: {type(error).__name__}: {error}"[:300])


def wrong_arguments(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """What is wrong, and the arguments: of each kind that the schema rules out."""
    required = list(schema.get("required") or ())
    properties: Mapping[str, Any] = schema.get("properties") or {}
    if required:
        yield "nothing", {}
        yield "null for all arguments", dict.fromkeys(required)
        yield "a list for all arguments", {name: [1] for name in required}
        yield "an object for all arguments", {name: {"x": 1} for name in required}
    if properties and schema.get("additionalProperties") is False:
        yield "an unknown argument", {"surprise": 1}


async def _made(episode: Episode, name: str, what: str, arguments: dict[str, Any]) -> Mistake:
    try:
        result = await asyncio.wait_for(episode.call(name, arguments), SECONDS)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a tool may raise anything
        return Mistake(name, what, False, f"raised {type(error).__name__}: {error}"[:200])
    if not isinstance(result, ToolResult) or not isinstance(result.content, str):
        return Mistake(name, what, False, f"returned {type(result).__name__} and no ToolResult with a text")
    return Mistake(name, what, result.is_error)
