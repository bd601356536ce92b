"""The built-in agent loop: sample, call the tools that were asked for, until there is an answer."""

from collections.abc import Mapping

from adapters.contract import (
    Budget,
    EpisodeView,
    Message,
    Policy,
    StopReason,
    ToolCall,
    ToolResult,
)
from adapters.loops.text_tool_calls import recover


class ToolLoop:
    """A plain tool-calling loop. The conversation only ever grows: nothing sent is changed."""

    async def run(self, episode: EpisodeView, policy: Policy, budget: Budget) -> StopReason:
        """See `contract.AgentLoop`. Ends with `answered`, `token_cap`, or by EpisodeOver."""
        messages: list[Message] = list(episode.messages)
        names = [tool["function"]["name"] for tool in episode.tools]
        while True:
            completion = await policy.complete(messages, episode.tools)
            messages.append(completion.message)
            if completion.finish_reason == "length":
                return StopReason.TOKEN_CAP
            if completion.tool_calls:
                for call in completion.tool_calls:
                    messages.append(_answer(call, await episode.execute(call)))
                continue
            written = recover(completion.text, names, _heard(messages))
            if written:
                for call in written:
                    messages.append(_answer_to_text(call, await episode.execute(call, from_text=True)))
                continue
            reply = await episode.reply(completion.text)
            if reply is None:
                return StopReason.ANSWERED
            messages.append(reply)


def _heard(messages: list[Message]) -> list[str]:
    """What tools and other parties said."""
    return [str(each.get("content") or "") for each in messages if each.get("role") in ("tool", "user")]


def _answer(call: ToolCall, result: ToolResult) -> Mapping[str, str]:
    return {"role": "tool", "tool_call_id": call.id, "content": result.content}


def _answer_to_text(call: ToolCall, result: ToolResult) -> Mapping[str, str]:
    # There is no tool_call id to answer to, and the assistant's message must stay as it was sampled.
    note = "call tools through the tool interface, not in text"
    return {"role": "user", "content": f"Result of {call.name} ({note}): {result.content}"}
