"""Reward and score rank rollouts alike."""

from collections import Counter

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "reward_correlation"
WARN_BELOW, FAIL_BELOW = 0.95, 0.5


def check(evidence: Evidence) -> Check:
    pairs = [(reward, score) for _, reward, score in evidence.graded]
    found = somers_d(pairs)
    if found is None:
        text = f"{len(pairs)} rollouts, and all have the same score"
        return Check(ID, "warn", text, "Nothing can be told: show how tasks are done (`demonstrate`).")
    measure = "Somers' D: of pairs with different scores, right minus wrong"
    text = f"{found:.3f} over {len(pairs)} rollouts ({measure})"
    if found < FAIL_BELOW:
        return Check(ID, "fail", text, "The reward does not measure what the score measures. Derive it anew.")
    if found < WARN_BELOW:
        return Check(ID, "warn", text, "Look at the pairs that the reward ranks the other way.")
    return Check(ID, "pass", text)


def somers_d(pairs: list[tuple[float, float]]) -> float | None:
    """Of (reward, score) pairs: (concordant - discordant) / those with different scores; None without any.

    Equal rewards for different scores count as neither, so that a constant reward comes to 0.
    """
    counts = Counter(pairs)
    balance = total = 0
    for (reward, score), count in counts.items():
        for (other, lower), more in counts.items():
            if lower < score:
                total += count * more
                balance += count * more * ((reward > other) - (reward < other))
    return balance / total if total else None
