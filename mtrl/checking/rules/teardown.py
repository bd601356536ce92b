"""Leaving an episode leaves nothing behind, also when its policy was gone half way."""

from mtrl.checking.evidence import Evidence, Remains
from mtrl.datasets.checks import Check

ID = "teardown"
KIB = 1024
WARN_BYTES, FAIL_BYTES = 16 * KIB, 128 * KIB
"""Growth an episode. A training job plays some 50,000 in one set of workers."""


def check(evidence: Evidence) -> Check:
    closing = [f for _, played in evidence.all_played for f in played.faults if f.startswith("closing")]
    if closing:
        return Check(
            ID, "fail", f"{len(closing)} episodes: {closing[0]}", "Let `open` close whatever happened."
        )
    remains = evidence.remains
    if remains is None:
        return Check(ID, "warn", "not measured: no second process was asked", "")
    left = _left(remains)
    memory = f"{remains.bytes_per_episode / KIB:.1f} KiB grown an episode"
    if left or remains.bytes_per_episode > FAIL_BYTES:
        text = "; ".join([*left, memory])
        return Check(
            ID, "fail", f"after {remains.episodes} episodes: {text}", "Release it in `open`'s finally."
        )
    status = "warn" if remains.bytes_per_episode > WARN_BYTES else "pass"
    next_act = "Look for a cache or a list that only grows." if status == "warn" else ""
    text = f"after {remains.episodes} episodes: no files, threads, descriptors or tasks; {memory}"
    return Check(ID, "warn" if status == "warn" else "pass", text, next_act)


def _left(remains: Remains) -> list[str]:
    kinds = {
        "files": remains.files,
        "threads": remains.threads,
        "open files and sockets": remains.descriptors,
        "running tasks": remains.tasks,
    }
    return [f"{len(names)} {kind} ({names[0]})" for kind, names in kinds.items() if names]
