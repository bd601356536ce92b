"""The code that workers run, where it is not this repository's: a plug-in, and the next release."""

import shutil
from pathlib import Path

PLUGIN = "chaos_sop"
"""The entry point of the environment with faults."""
SOURCE = Path(__file__).parent / "faulty_sop.py"
CHANGES = (
    # A log of the next release says more than this one knows, both of itself and of a turn.
    ('head = {"schema": SCHEMA_VERSION,', 'head = {"release": "next", "schema": SCHEMA_VERSION,'),
    ('self._append({"request": _digest(body),', 'self._append({"note": "next", "request": _digest(body),'),
)
CHANGED = "adapters/runtime/rollout_log.py"


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


def next_release(code: Path, folder: Path) -> Path:
    """Copy `code`'s adapters as a release that writes its rollout logs a little differently.

    Raises:
        CodeError: what is to be changed is not there.
    """
    shutil.copytree(code / "adapters", folder / "adapters", ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / CHANGED
    text = path.read_text()
    for old, new in CHANGES:
        if text.count(old) != 1:
            raise CodeError(f"{CHANGED}: {old!r} is there {text.count(old)} times. Correct {__name__}.")
        text = text.replace(old, new)
    path.write_text(text)
    return folder
