"""What a rollout with a score of 0 earns stays within the declared bound."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "shaping_bound"
ROUNDING = 1e-9


def check(evidence: Evidence) -> Check:
    terms = evidence.subject.terms
    declared = f"declared: {terms.shaping_bound:g}"
    if not evidence.graded:
        return Check(ID, "fail", "no episode was graded", "See reward_range.")
    failed = [(reward, kind) for kind, reward, score in evidence.graded if score == 0]
    if not failed:
        text = f"none of {len(evidence.graded)} rollouts has a score of 0; {declared}"
        return Check(ID, "warn", text, "Nothing can be told: show how tasks are done (`demonstrate`).")
    # At success and above it is another check's finding.
    over = [each for each in failed if terms.shaping_bound + ROUNDING < each[0] < terms.success]
    if over:
        most, kind = max(over)
        text = f"{len(over)} rollouts with a score of 0 earn up to {most:.3f} ({kind}); {declared}"
        return Check(ID, "fail", text, "Lower the shaping, or declare the bound that you mean.")
    most = max((reward for reward, _ in failed if reward < terms.success), default=0.0)
    text = (
        f"{len(failed)} rollouts with a score of 0 earn up to {most:.3f}; declared: {terms.shaping_bound:g}"
    )
    return Check(ID, "pass", text)
