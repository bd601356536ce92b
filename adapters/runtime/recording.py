"""The two seams of a rollout: the policy and the tools, as a loop sees them.

Whatever passes here is validated, bounded and recorded in the transcript. So a transcript exists for any
loop, the budget holds for any loop, and a loop that raises leaves behind what happened until then.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol

import jsonschema_rs
import orjson

from adapters.contract import (
    Budget,
    CallRecord,
    Completion,
    EnvironmentFault,
    Episode,
    EpisodeOver,
    InferenceParams,
    Message,
    PolicyUnavailable,
    RolloutRequest,
    StopReason,
    ToolCall,
    ToolResult,
    ToolSpec,
    Transcript,
    Turn,
)
from adapters.runtime.log_store import LogKeeper
from adapters.runtime.rollout_log import RolloutLog

VALIDATORS = 512
"""Schemas of tools that are kept compiled; an environment may make them up for each task."""
TOOL_CLEANUP_SECONDS = 2.0
"""How long a cancelled tool may take to let go before it is left behind."""


class Sampler(Protocol):
    """Where turns come from: the Job Runtime, or a policy in this process (`mtrl.playing`)."""

    @property
    def request_timeout(self) -> float:
        """Seconds that one request may take."""

    async def sample(
        self,
        request: RolloutRequest,
        body: bytes,
        *,
        deadline: float,
        first: bool,
        on_uncertain: Callable[[], None],
        before_each: Callable[[], Awaitable[None]],
    ) -> Mapping[str, Any]:
        """One turn from a chat request; see `JobRuntime.sample`."""


class RecordedPolicy:
    """The model in training, bound to one rollout; implements `contract.Policy`."""

    def __init__(
        self,
        runtime: Sampler,
        request: RolloutRequest,
        keeper: LogKeeper,
        budget: Budget,
        transcript: Transcript,
    ) -> None:
        self._runtime = runtime
        self._request = request
        self._keeper = keeper
        self._budget = budget
        self._transcript = transcript
        self._conversation = _SentMessages(transcript)
        self._tools: tuple[Sequence[ToolSpec], orjson.Fragment] | None = None
        self._closed: StopReason | None = None
        self._fixed = _sampling_fields(request.inference)
        self.quiet = asyncio.Event()
        """Set while no Sample is in flight or being written down: the loop may be cut without doubt."""
        self.quiet.set()

    async def complete(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = (), **parameters: Any
    ) -> Completion:
        transcript, budget = self._transcript, self._budget
        if self._closed is not None:
            raise EpisodeOver(self._closed)
        if len(transcript.turns) >= budget.max_turns:
            raise EpisodeOver(StopReason.MAX_TURNS)
        if time.monotonic() >= budget.deadline:
            raise EpisodeOver(StopReason.WALL_CLOCK)
        if not transcript.turns:
            transcript.opening = list(messages)
        started = time.monotonic()
        raw = await self._recorded_or_sampled(self._body(messages, tools, parameters))
        completion = Completion(raw, _tool_calls(raw))
        transcript.turns.append(Turn(completion, seconds=time.monotonic() - started))
        transcript.messages = [*messages, completion.message]
        self._conversation.append(completion.message)
        return completion

    async def _recorded_or_sampled(self, body: bytes) -> Mapping[str, Any]:
        """An episode that is resumed gets its recorded answers first, and samples beyond them."""
        recorded = self._keeper.log.completion(body)
        if recorded is not None:
            self._transcript.uncertain_samples += recorded[1]
            return recorded[0]
        await self._keeper.before_sample()
        try:
            raw = await self._runtime.sample(
                self._request,
                body,
                deadline=self._budget.deadline,
                first=not self._transcript.turns,
                on_uncertain=self._count_uncertain,
                before_each=self._may_send,
            )
            self._keeper.log.sampled(body, raw)
            await self._keeper.after_sample()  # before the loop has the answer, and calls a tool
            return raw
        finally:
            self.quiet.set()

    async def _may_send(self) -> None:
        """Called before each attempt; raises if there is to be none."""
        self.quiet.set()  # nothing is in flight: who waits for the ledger here can be cut without doubt
        await self._keeper.claim.hold(self._runtime.request_timeout)
        self.quiet.clear()
        if self._closed is not None:
            raise EpisodeOver(self._closed)
        if self._transcript.turns and self._keeper.in_too_much_doubt:
            raise PolicyUnavailable("the turn is in doubt from earlier claims already")

    def close(self, reason: StopReason) -> None:
        """No Sample from now on: a loop that was cut may not have let go."""
        self._closed = reason

    def _body(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], parameters: dict[str, Any]
    ) -> bytes:
        request = {"model": "default", "messages": self._conversation.serialize(messages)}
        if tools:
            if self._tools is None or self._tools[0] is not tools:
                self._tools = (tools, orjson.Fragment(orjson.dumps(list(tools), default=dict)))
            request["tools"] = self._tools[1]
        # The request's own sampling parameters win: the trainer must know what it trains on.
        return orjson.dumps({**request, **parameters, **self._fixed}, default=dict)

    def _count_uncertain(self) -> None:
        self._transcript.uncertain_samples += 1
        self._keeper.log.doubt += 1


class _SentMessages:
    """Serializes each message once, and counts requests that do not extend the one before."""

    def __init__(self, transcript: Transcript) -> None:
        self._sent: list[tuple[Message, orjson.Fragment]] = []
        self._transcript = transcript

    def serialize(self, messages: Sequence[Message]) -> list[orjson.Fragment]:
        sent, same = self._sent, 0
        for (known, _), message in zip(sent, messages, strict=False):
            if known is not message and known != message:
                break
            same += 1
        if same < len(sent):
            self._transcript.rewrites += 1
        del sent[same:]
        for message in messages[same:]:
            self.append(message)
        return [fragment for _, fragment in sent]

    def append(self, message: Message) -> None:
        """Also called with the policy's answer: it goes back as it came, whatever the loop does to it."""
        self._sent.append((message, orjson.Fragment(orjson.dumps(message, default=dict))))


class RecordedEpisode:
    """An episode as a loop sees it; implements `contract.EpisodeView`."""

    def __init__(self, episode: Episode, budget: Budget, transcript: Transcript, log: RolloutLog) -> None:
        self._episode = episode
        self._log = log
        self._budget = budget
        self._transcript = transcript
        self._calls = 0
        self.messages = episode.messages
        self.tools = episode.tools
        self._parameters = {t["function"]["name"]: t["function"].get("parameters") for t in episode.tools}

    async def execute(self, call: ToolCall, *, from_text: bool = False) -> ToolResult:
        if self._calls >= self._budget.max_tool_calls:
            raise EpisodeOver(StopReason.TOOL_BUDGET)
        self._calls += 1
        started = time.monotonic()
        arguments, problem = self._validate(call)
        if arguments is None:
            result = self._cap(ToolResult(_error_text(problem), is_error=True))
        else:
            result = self._cap(await self._run(call.name, arguments))
        record = CallRecord(call, arguments, result, from_text, time.monotonic() - started)
        if self._transcript.turns:  # a team's own loop may look something up before it samples
            self._transcript.turns[-1].calls.append(record)
        self._log.tool(call.name, result.content)
        return result

    async def reply(self, text: str) -> Message | None:
        return await self._episode.reply(text)

    def _validate(self, call: ToolCall) -> tuple[Mapping[str, Any] | None, str]:
        if call.name not in self._parameters:
            return None, f"There is no tool {call.name!r}. Tools: {', '.join(self._parameters)}."
        try:
            arguments = orjson.loads(call.arguments or "{}")
        except ValueError as error:
            return None, f"The arguments of {call.name} are not valid JSON: {error}"
        if not isinstance(arguments, dict):
            return None, f"The arguments of {call.name} must be a JSON object."
        for flaw in _validator(orjson.dumps(self._parameters[call.name], default=dict)).iter_errors(
            arguments
        ):
            where = "/".join(str(part) for part in flaw.instance_path)
            return None, f"Wrong arguments for {call.name}: {where + ': ' if where else ''}{flaw.message}"
        return arguments, ""

    async def _run(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        seconds = min(self._budget.tool_timeout, self._budget.deadline - time.monotonic())
        task = asyncio.ensure_future(self._call(name, arguments))
        task.add_done_callback(_looked_at)
        try:
            done, _ = await asyncio.wait({task}, timeout=max(0.0, seconds))
        except asyncio.CancelledError:
            task.cancel()
            raise
        if task.cancelled():  # not by us: something inside the tool was
            raise EnvironmentFault(f"tool {name} was cancelled from within")
        if done:
            return task.result()
        # Not asyncio.timeout: a tool that swallows the cancellation would hold the rollout for ever.
        task.cancel()
        await asyncio.wait({task}, timeout=TOOL_CLEANUP_SECONDS)
        _replace_threads()
        if time.monotonic() >= self._budget.deadline:
            raise EpisodeOver(StopReason.WALL_CLOCK)
        return ToolResult(_error_text(f"{name} did not answer within {seconds:g} s."), is_error=True)

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> ToolResult:
        try:
            return await self._episode.call(name, arguments)
        except (Exception, SystemExit) as error:  # sys.exit in a tool must not end 96 rollouts
            raise EnvironmentFault(f"tool {name} raised {type(error).__name__}: {error}") from error

    def _cap(self, result: ToolResult) -> ToolResult:
        limit = self._budget.tool_result_chars
        if len(result.content) <= limit:
            return result
        marker = f"\n[cut: {len(result.content) - limit} of {len(result.content)} characters left out]"
        return ToolResult(result.content[:limit] + marker, result.is_error)


@lru_cache(maxsize=VALIDATORS)
def _validator(schema: bytes) -> Any:
    """Compiled once a schema and process: episodes come and go, their tools stay."""
    return jsonschema_rs.validator_for(orjson.loads(schema) or {"type": "object"})


def _replace_threads() -> None:
    """A tool that was left behind may hold one of the loop's few threads for ever.

    Credentials, names of hosts and other rollouts' tools need threads too, so they get new ones.
    """
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(thread_name_prefix="asyncio"))


def _looked_at(task: "asyncio.Task[ToolResult]") -> None:
    """A tool that was left behind may still raise; asyncio would print that, with what is in it."""
    if not task.cancelled():
        task.exception()


def _sampling_fields(inference: InferenceParams) -> dict[str, float | int]:
    fields = {
        "temperature": inference.temperature,
        "top_p": inference.top_p,
        "max_tokens": inference.max_tokens,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _tool_calls(raw: Mapping[str, Any]) -> tuple[ToolCall, ...]:
    calls = raw["choices"][0]["message"].get("tool_calls")
    if not isinstance(calls, list):
        return ()
    return tuple(_tool_call(call) for call in calls if isinstance(call, dict))


def _tool_call(call: Mapping[str, Any]) -> ToolCall:
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    arguments = function.get("arguments")
    if not isinstance(arguments, str):  # some servers send the object itself
        arguments = orjson.dumps(arguments or {}).decode()
    return ToolCall(str(call.get("id") or ""), str(function.get("name") or ""), arguments)


def _error_text(problem: str) -> str:
    return orjson.dumps({"error": problem}).decode()
