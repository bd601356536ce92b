"""Policies written as generators of moves."""

from collections.abc import Sequence

from adapters.contract import Message, MovesPolicy, Steps, Task, use
from adapters.runtime.fakes import FakeEnvironment, answers
from mtrl.playing import play

TASK = Task("t", "", {"text": "hello"})


async def test_moves_call_tools_talk_and_answer() -> None:
    heard: list[object] = []

    def moves(messages: Sequence[Message]) -> Steps[str]:
        heard.append(messages[-1]["content"])
        heard.append((yield from use("look", key="ä")))
        heard.append((yield "Which one?"))
        heard.append((yield from use("count")))
        return "the answer"

    tools = {"look": answers('{"found": 1}'), "count": answers("[2]")}
    environment = FakeEnvironment(tools=tools, replies=["That one."])
    played = await play(environment, TASK, MovesPolicy(moves))
    assert heard == ["hello", {"found": 1}, "That one.", {"result": [2]}]
    assert played.transcript.answer == "the answer"
    assert environment.episodes[0].calls == [("look", {"key": "ä"}), ("count", {})]
    assert [record.call.id for record in played.transcript.calls] == ["call_1", "call_3"]


async def test_an_answer_that_is_replied_to_is_given_again() -> None:
    def moves(_: Sequence[Message]) -> Steps[str]:
        yield "first"
        return "last"

    played = await play(FakeEnvironment(replies=["?", "again?", "sure?"]), TASK, MovesPolicy(moves))
    texts = [turn.completion.text for turn in played.transcript.turns]
    assert texts == ["first", "last", "last", "last"]
