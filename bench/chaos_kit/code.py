"""The code that workers run, where it is not this repository's: a plug-in, and the next release."""

import shutil
from pathlib import Path

PLUGIN = "chaos_sop"
"""The entry point of the environment with faults."""
SOURCE = Path(__file__).parent / "faulty_sop.py"
LOG, EPISODE = "adapters/runtime/rollout_log.py", "adapters/environments/sop/episode.py"
CHANGES = {
    # A log of the next release says more than this one knows, both of itself and of a turn.
    "logs": (
        (LOG, 'head = {"schema": SCHEMA_VERSION,', 'head = {"release": "next", "schema": SCHEMA_VERSION,'),
        (
            LOG,
            'self._append({"request": _digest(body),',
            'self._append({"note": "next", "request": _digest(body),',
        ),
    ),
    # The next release begins a conversation with other words, so none of this one's can be gone on with.
    "prompt": (
        (
            EPISODE,
            '{"role": "system", "content": system_text(domain)}',
            '{"role": "system", "content": "Be brief. " + system_text(domain)}',
        ),
    ),
}


class CodeError(RuntimeError):
    """The next release cannot be made from this one."""


def plugin(folder: Path) -> str:
    """Make a folder for PYTHONPATH that registers the environment with faults."""
    metadata = folder / "mtrl_chaos-0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: mtrl-chaos\nVersion: 0\n")
    (metadata / "entry_points.txt").write_text(f"[mtrl.environments]\n{PLUGIN} = {SOURCE.stem}:create\n")
    shutil.copy(SOURCE, folder)
    return str(folder)


def next_release(code: Path, folder: Path, what: str = "logs") -> Path:
    """Copy `code`'s adapters as a release with other `logs`, or another `prompt`.

    Raises:
        CodeError: what is to be changed is not there.
    """
    shutil.copytree(code / "adapters", folder / "adapters", ignore=shutil.ignore_patterns("__pycache__"))
    for changed, old, new in CHANGES[what]:
        path = folder / changed
        text = path.read_text()
        if text.count(old) != 1:
            raise CodeError(f"{changed}: {old!r} is there {text.count(old)} times. Correct {__name__}.")
        path.write_text(text.replace(old, new))
    return folder
