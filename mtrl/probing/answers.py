"""An answer taken apart into what stands around it and its fields, so that operators can edit either.

This reading belongs to the probe: it decides which edits left every field as it was. It is stricter than
any reward should be: one JSON object, without a repeated key, in the last block of the text.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

DEFAULT_TAG = "final_output"
_BLOCK = re.compile(r"<([A-Za-z_][\w-]*)>(?:(?!<\1>).)*</\1>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answer:
    """`before <tag>{fields}</tag> after`."""

    fields: Mapping[str, Any]
    tag: str = DEFAULT_TAG
    before: str = ""
    after: str = ""

    @property
    def body(self) -> str:
        return json.dumps(dict(self.fields), ensure_ascii=False)

    @property
    def block(self) -> str:
        return self.around(self.body)

    @property
    def text(self) -> str:
        return f"{self.before}{self.block}{self.after}"

    def around(self, body: str) -> str:
        """A block of this answer's tag with another body."""
        return f"<{self.tag}>{body}</{self.tag}>"

    def having(self, **fields: Any) -> "Answer":
        """The answer with some fields changed or added."""
        return replace(self, fields={**self.fields, **fields})

    def keeping(self, *names: str) -> "Answer":
        """The answer with these fields alone."""
        return replace(self, fields={name: self.fields[name] for name in names})


def read_answer(text: str) -> Answer | None:
    """The answer in the last block of a text; None where there is none of the strict form."""
    found = None
    for found in _BLOCK.finditer(text):  # noqa: B007 - the last one is wanted
        pass
    if found is None:
        return None
    tag = found[1]
    body = found[0][len(tag) + 2 : -len(tag) - 3]
    try:
        fields = json.loads(body, object_pairs_hook=_once)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict):
        return None
    return Answer(fields, tag, text[: found.start()], text[found.end() :])


def read_template(prompt: str) -> Answer | None:
    """The form of the answer that the instructions show."""
    return read_answer(prompt)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) < len(pairs):
        raise ValueError("a key occurs twice")
    return dict(pairs)
