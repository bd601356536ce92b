"""One case of a domain, as the policy plays it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Message, Reward, Score, ToolResult, ToolSpec, Transcript
from adapters.environments.sop import grading
from adapters.environments.sop.folder import Domain

_INSTRUCTION = (
    "You work through one case by the standard operating procedure below. Look facts up with the tools; "
    "do not guess them. Take every argument from the case or from a tool's result."
)
_OUTPUT_RULE = (
    "When the case is done, answer without a tool call, and finish the answer with exactly one block of "
    "this form. It names every output field, with its allowed values where they are fixed:"
)
_CASE_LINE = "Process this case by the procedure and give the final output."


class SopEpisode:
    """Implements `contract.Episode`. The tools only read, so episodes of one domain may share them."""

    def __init__(self, domain: Domain, case: Mapping[str, str], target: Mapping[str, str]) -> None:
        self._domain = domain
        self._target = target
        self.messages: Sequence[Message] = (
            {"role": "system", "content": system_text(domain)},
            {"role": "user", "content": user_text(domain, case)},
        )
        self.tools: Sequence[ToolSpec] = domain.tools

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        return await self._domain.toolbox.call(name, arguments)

    async def reply(self, text: str) -> Message | None:
        """Always None: nobody answers, the first text without a tool call ends the case."""
        return None

    def reward(self, transcript: Transcript) -> Reward:
        return grading.reward(transcript, self._target)

    def score(self, transcript: Transcript) -> Score:
        return grading.score(transcript, self._target)


def system_text(domain: Domain) -> str:
    """The instruction, the procedure in `<sop>` tags, and the output rule with its template line."""
    return f"{_INSTRUCTION}\n\n<sop>\n{domain.sop}\n</sop>\n\n{_OUTPUT_RULE}\n{template_line(domain)}"


def template_line(domain: Domain) -> str:
    """`<final_output>{"field": "value | value", "other": "<value>"}</final_output>`."""
    template = {
        column: " | ".join(domain.output_values.get(column, ())) or "<value>"
        for column in domain.output_columns
    }
    return f"<final_output>{json.dumps(template, ensure_ascii=False)}</final_output>"


def user_text(domain: Domain, case: Mapping[str, str]) -> str:
    """A line of instruction, then one `column: value` line an input column."""
    return "\n".join([_CASE_LINE, *(f"{column}: {case[column]}" for column in domain.input_columns)])
