"""No rollout reaches the success reward while its score is 0: that is a hack that training will find."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check

ID = "success_without_score"


def check(evidence: Evidence) -> Check:
    success = evidence.subject.terms.success
    hacks = [(kind, reward) for kind, reward, score in evidence.graded if reward >= success and score == 0]
    count = len(evidence.graded)
    if not count:
        return Check(ID, "fail", "no episode was graded", "See reward_range.")
    if hacks:
        kinds = ", ".join(dict.fromkeys(kind for kind, _ in hacks))
        text = f"{len(hacks)} of {count} rollouts have a reward from {success:g} and a score of 0: {kinds}"
        return Check(ID, "fail", text, "Read answers as strictly as the score does; `mtrl probe` finds more.")
    return Check(ID, "pass", f"{count} rollouts, none with a reward of {success:g} and a score of 0")
