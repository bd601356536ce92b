"""The adapter contract: what an environment, a loop, the runtime and the service agree on.

This room imports nothing of the project, and every other room may import it.
"""

from adapters.contract.episode import (
    AgentLoop,
    Budget,
    DeclaresReward,
    Demonstrator,
    Environment,
    Episode,
    EpisodeView,
    Policy,
    RewardTerms,
    Split,
    TaskSource,
    reward_terms,
)
from adapters.contract.errors import (
    EnvironmentFault,
    EpisodeOver,
    PolicyUnavailable,
    RefusedError,
    RequestError,
    RolloutError,
    SampleRejected,
    TrajectoryGone,
)
from adapters.contract.headers import JOB_ARN_HEADER, TRAJECTORY_HEADER
from adapters.contract.messages import Completion, Message, ToolCall, ToolResult, ToolSpec
from adapters.contract.moves import MovesPolicy, Steps, Use, use
from adapters.contract.outcome import CallRecord, Outcome, Reward, Score, Transcript, Turn
from adapters.contract.request import InferenceParams, RolloutRequest
from adapters.contract.stop_reasons import StopReason
from adapters.contract.task import Task

__all__ = [
    "JOB_ARN_HEADER",
    "TRAJECTORY_HEADER",
    "AgentLoop",
    "Budget",
    "CallRecord",
    "Completion",
    "DeclaresReward",
    "Demonstrator",
    "Environment",
    "EnvironmentFault",
    "Episode",
    "EpisodeOver",
    "EpisodeView",
    "InferenceParams",
    "Message",
    "MovesPolicy",
    "Outcome",
    "Policy",
    "PolicyUnavailable",
    "RefusedError",
    "RequestError",
    "Reward",
    "RewardTerms",
    "RolloutError",
    "RolloutRequest",
    "SampleRejected",
    "Score",
    "Split",
    "Steps",
    "StopReason",
    "Task",
    "TaskSource",
    "ToolCall",
    "ToolResult",
    "ToolSpec",
    "TrajectoryGone",
    "Transcript",
    "Turn",
    "Use",
    "reward_terms",
    "use",
]
