"""Few turns are cut by sampling_max_tokens."""

from mtrl.checking.evidence import Evidence
from mtrl.datasets.checks import Check
from mtrl.playing import TRAINING

ID = "token_cap"
MOST = 0.05


def check(evidence: Evidence) -> Check:
    played = evidence.begun
    if not played:
        return Check(ID, "fail", "no baseline rollout was played", "See the checks above.")
    share = sum(each.transcript.token_cap_hits > 0 for each in played) / len(played)
    text = (
        f"{share:.0%} of {len(played)} baseline rollouts were cut at {TRAINING.max_tokens} tokens "
        f"(rule: < {MOST:.0%})"
    )
    if share >= MOST:
        return Check(ID, "fail", text, "Raise sampling_max_tokens, or ask for shorter answers.")
    return Check(ID, "pass", text)
