"""For each shipped domain, its procedure played over an episode's tools, and a player by names alone."""

import re
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from adapters.contract import Episode, Task
from adapters.environments.sop import final_output
from adapters.environments.sop.procedures import PROCEDURES, Case, Procedure
from tests.environments.play import Desk

Oracle = Callable[[Case, Desk], Awaitable[dict[str, Any]]]


def _by_hand(procedure: Procedure) -> Oracle:
    async def oracle(case: Case, desk: Desk) -> dict[str, Any]:
        return await desk.follow(procedure(case))

    return oracle


ORACLES: dict[str, Oracle] = {name: _by_hand(procedure) for name, procedure in PROCEDURES.items()}
BRANCH_TOOLS = {
    "returns_desk": "open_inspection",
    "loan_hardship": "refer_specialist",
    "lab_intake": "find_recollection_site",
}
"""The tool that is called only on the domain's branch."""


async def by_names_alone(task: Task, episode: Episode, desk: Desk) -> dict[str, str]:
    """What a policy can do that sees only names: it follows `next_step` and the tool that a refusal names,
    fills an argument or a field with the last value seen under the same or the most similar key, and takes
    the template's first fixed value for a field whose name it never saw.
    """
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in episode.tools}
    seen: dict[str, str] = {}
    step = episode.tools[0]["function"]["name"]
    while step in schemas:
        known = {**task.input["case"], **seen}
        given = {name: known[_nearest(name, known)] for name in schemas[step]["required"]}
        result = await desk.ask(step, **given)
        seen |= {key: str(value) for key, value in result.items()}
        step = result["next_step"] if result else re.findall(r"Call (\w+)", desk.errors[-1])[0]
    template = final_output(episode.messages[0]["content"])
    assert template is not None
    return {field: seen.get(field, shown.split(" | ")[0]) for field, shown in template.items()}


def _nearest(name: str, known: Iterable[str]) -> str:
    words = set(name.split("_"))
    return max(known, key=lambda key: (key == name, len(words & set(key.split("_")))))
