"""One question, as the policy plays it, on databases of its own."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from adapters.contract import Message, Reward, Score, ToolResult, ToolSpec, Transcript
from adapters.environments.sql import answers, scoring
from adapters.environments.sql.answers import Target
from adapters.environments.sql.sandbox import Sandbox
from adapters.environments.sql.schemas import Schema
from adapters.environments.sql.tools import Tools

_INSTRUCTION = (
    "You answer a question about a database (SQLite, reading only) with one SELECT statement. Try it with "
    "run_query. Its result must hold exactly what the question asks for, in that order of columns: for a "
    "question by group, the group and then the value, groups without rows left out. Do not round. The "
    "statement is also run on other rows of the same tables, so it must compute the answer and not state it."
)
_GUIDE = (
    "Work in this order: match_question finds the parts of the question; draft_query makes a first "
    "statement of them; narrow_query adds the condition, if the question has one; then answer with the "
    "draft as it stands at last."
)
_OUTPUT_RULE = (
    "Answer without a tool call, and finish the answer with exactly one block of this form:\n"
    '<final_output>{"sql": "<value>"}</final_output>'
)


class SqlEpisode:
    """Implements `contract.Episode`."""

    def __init__(
        self,
        schema: Schema,
        question: str,
        target: Target,
        images: tuple[bytes, bytes],
        sandbox: Sandbox,
        *,
        guided: bool,
    ) -> None:
        self._target = target
        self._images = images
        self._tools = Tools(schema, sandbox, guided=guided)
        self._graded: dict[str, tuple[dict[str, float], Score]] = {}
        self.messages: Sequence[Message] = (
            {
                "role": "system",
                "content": "\n\n".join([_INSTRUCTION, *([_GUIDE] if guided else []), _OUTPUT_RULE]),
            },
            {"role": "user", "content": f"database: {schema.name}, {schema.topic}\nquestion: {question}"},
        )
        self.tools: Sequence[ToolSpec] = self._tools.specs

    async def call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        """A query runs in a thread, since it may take its whole allowance."""
        if not self._tools.may_block(name):
            return self._tools.call(name, arguments)
        return await asyncio.to_thread(self._tools.call, name, arguments)

    async def reply(self, text: str) -> Message | None:
        """None: nobody answers. The answer's query is run here, since grading must not block the loop."""
        await asyncio.to_thread(self._grade, text)
        return None

    def reward(self, transcript: Transcript) -> Reward:
        return answers.reward(dict(self._grade(transcript.answer)[0]), transcript)

    def score(self, transcript: Transcript) -> Score:
        return self._grade(transcript.answer)[1]

    def _grade(self, answer: str) -> tuple[dict[str, float], Score]:
        """Both grades of an answer, each found in its own way; kept, so that it is executed once."""
        if answer not in self._graded:
            sql = answers.answered_sql(answer)
            gold = {"sql": self._target.sql, "ordered": self._target.ordered}
            self._graded[answer] = (
                answers.measure(sql, self._target, self._images),
                scoring.score(answer, gold, *self._images),
            )
        return self._graded[answer]
