"""Changes the answer of a policy: the same content in another form, or other content in the same form.

A reward that reads the first kind more leniently than the score does shows here, whatever the base policy
can do.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from adapters.contract import Completion, Message, Policy, ToolSpec

_BLOCK = re.compile(r"<(\w+)>\s*(\{.*\})\s*</\1>", re.DOTALL)
Form = Callable[[re.Match[str]], str]


def _in(before: str, after: str) -> Form:
    return lambda block: f"{before}{block[2]}{after}"


def _wrong(which: slice) -> Form:
    """The values of some fields made wrong."""

    def form(block: re.Match[str]) -> str:
        try:
            fields = json.loads(block[2])
        except ValueError:
            return block[0]
        wrong = dict.fromkeys(list(fields)[which], "surely not this")
        return f"<{block[1]}>{json.dumps({**fields, **wrong})}</{block[1]}>"

    return form


FORMS: Mapping[str, Form] = {
    "the answer in another tag": _in("<final_response>", "</final_response>"),
    "the answer in a code fence": _in("```json\n", "\n```"),
    "the answer without a tag": _in("", ""),
    "the answer in prose": lambda block: "I am done: " + re.sub(r"[{}\"]", "", block[2]) + ".",
    "an unclosed tag": lambda block: f"<{block[1]}>{block[2]}",
    "the first field wrong": _wrong(slice(0, 1)),
    "the last field wrong": _wrong(slice(-1, None)),
    "every field wrong": _wrong(slice(None)),
}


class Reworded:
    """Implements `contract.Policy`: another policy, with the block of its answers changed."""

    def __init__(self, policy: Policy, form: Form) -> None:
        self._policy = policy
        self._form = form
        self.changed = False

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        completion = await self._policy.complete(messages, tools, **parameters)
        text = _BLOCK.sub(self._form, completion.text)
        if completion.tool_calls or text == completion.text:
            return completion
        self.changed = True
        choice = completion.raw["choices"][0]
        message = {**completion.message, "content": text}
        return Completion({**completion.raw, "choices": [{**choice, "message": message}]})
