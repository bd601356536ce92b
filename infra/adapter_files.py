"""What the settings of an adapter say of files, held against the files: a folder, a pip.conf, variables."""

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

ENVIRONMENTS = Path("adapters/environments")
CLOSE = 0.8
"""How like a known name a mistake is. An environment may also read names that its text does not spell out."""


def on_disk(adapter: Mapping[str, Any], root: Path) -> list[str]:
    """What is wrong, in sentences. `adapter` is as the user wrote it: what has a wrong type is left alone."""
    return [*_missing(adapter, root), *_misspelt(adapter, root)]


def _missing(adapter: Mapping[str, Any], root: Path) -> Iterator[str]:
    path, pip_conf = adapter.get("path"), adapter.get("pip_conf")
    if isinstance(path, str) and not (root / path).is_dir():
        yield f"adapter.path: there is no folder {root / path}. Give its path from the app's folder."
    if isinstance(pip_conf, str) and not (root / pip_conf).is_file():
        yield f"adapter.pip_conf: there is no file {root / pip_conf}. Give its path from the app's folder."


def _misspelt(adapter: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Variables nearly as one that the environment reads: itself, it would take no notice of them."""
    name, variables = adapter.get("environment"), adapter.get("variables")
    if not isinstance(name, str) or not isinstance(variables, dict):
        return
    own, path = f"MTRL_{name.upper()}_", adapter.get("path")
    read = _read_by(root / path if isinstance(path, str) else root / ENVIRONMENTS / name, own)
    for variable in variables:
        near = difflib.get_close_matches(variable.removeprefix(own), read, n=1, cutoff=CLOSE)
        if variable.startswith(own) and variable.removeprefix(own) not in read and near:
            yield f"adapter.variables: unknown variable '{variable}'. Did you mean '{own}{near[0]}'?"


def _read_by(folder: Path, prefix: str) -> set[str]:
    """What follows the prefix in the variables that a package names."""
    named = re.compile(rf"[\"']{re.escape(prefix)}([A-Z0-9_]+)[\"']")
    return {
        name
        for path in (folder.rglob("*.py") if folder.is_dir() else ())
        for name in named.findall(path.read_text(encoding="utf-8", errors="replace"))
    }
