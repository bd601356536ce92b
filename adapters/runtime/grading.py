"""From an environment's reward to what UpdateReward carries."""

import math
from dataclasses import replace

from adapters.contract import Reward, Score, Transcript

PENALTY_CAP = 0.2
"""The most that calls written as text may take off: the outcome must dominate."""


def penalized(reward: Reward, text_tool_calls: int, penalty: float) -> Reward:
    """Check a reward, and take the penalty for tool calls written as text off it.

    Values become plain floats: numpy's own would not survive the way onto the wire.

    Raises:
        ValueError: a value is not finite or outside of [-1, 1].
    """
    for value in (reward.value, *reward.per_turn):
        if not math.isfinite(value) or not -1 <= value <= 1:
            raise ValueError(f"the reward {value!r} is outside of [-1, 1]")
    reward = replace(
        reward,
        value=float(reward.value),
        components={str(name): float(value) for name, value in reward.components.items()},
        per_turn=tuple(float(value) for value in reward.per_turn),
    )
    if not text_tool_calls or not penalty:
        return reward
    cut = min(PENALTY_CAP, penalty * text_tool_calls)
    return replace(
        reward,
        value=max(-1.0, reward.value - cut),
        components={**reward.components, "text_tool_calls": -cut},
        per_turn=(*reward.per_turn[:-1], max(-1.0, reward.per_turn[-1] - cut)) if reward.per_turn else (),
    )


def checked(score: Score) -> Score:
    """A score with plain values.

    Raises:
        ValueError: the value is not finite or outside of [0, 1].
    """
    if not 0 <= score.value <= 1:  # false for NaN, too
        raise ValueError(f"the score {score.value!r} is outside of [0, 1]")
    fields = {str(name): bool(right) for name, right in score.fields.items()}
    return Score(float(score.value), fields)


def final_rewards(reward: Reward, transcript: Transcript, *, per_turn: bool) -> tuple[float, ...]:
    """The values to report: one a turn if asked for and safe, else one for the episode.

    With an uncertain Sample the service may hold more turns than we do, so that values a turn could land on
    the wrong turns.
    """
    aligned = len(reward.per_turn) == len(transcript.turns) and not transcript.uncertain_samples
    if per_turn and reward.per_turn and aligned:
        return reward.per_turn
    return (reward.value,)
