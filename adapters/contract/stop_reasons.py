"""Why a rollout ended. Every rollout ends with exactly one of these."""

from enum import StrEnum


class StopReason(StrEnum):
    """A stop reason. With at least one Sample the trajectory is sealed `ready`, whatever the reason."""

    ANSWERED = "answered"
    """The policy gave its final answer, and nobody had a reply to it."""
    MAX_TURNS = "max_turns"
    """The environment's `max_turns` Samples were spent without a final answer."""
    TOKEN_CAP = "token_cap"  # noqa: S105 - a stop reason, not a secret
    """A turn was cut by `max_tokens`, so that its text or its tool call is incomplete."""
    WALL_CLOCK = "wall_clock"
    """The deadline (received_at + budget - margin) passed during the episode."""
    TOOL_BUDGET = "tool_budget"
    """The tool calls allowed for one episode were spent."""
    POLICY_UNAVAILABLE = "policy_unavailable"
    """The Job Runtime gave no usable answer within its retries."""
    MALFORMED_TASK = "malformed_task"
    """The prompt is not a task of this environment. Nothing was sampled."""
    ENVIRONMENT_ERROR = "environment_error"
    """The environment, or the agent loop, raised."""
    EXPIRED = "expired"
    """The deadline had passed before the first Sample. Nothing was sampled."""
    DRAINED = "drained"
    """The process was told to stop, and the grace ended before the episode did."""
    REPLAY_DIVERGED = "replay_diverged"
    """A resumed episode did not repeat what its rollout log holds."""
    CRASHED = "crashed"
    """An earlier claim died in the middle of the episode, and `on_crash` is not `resume`."""
    POISONED = "poisoned"
    """Claimed more than MTRL_MAX_ATTEMPTS times without an outcome: it may be what its workers die of."""
    TRAJECTORY_GONE = "trajectory_gone"
    """The service no longer knows the trajectory, or has sealed it itself."""
    DUPLICATE = "duplicate"
    """Another claim is at work on this rollout, or has finished it."""
