"""Which modules of the project a set of modules needs, from their imports.

So an asset holds what its entrypoint imports and nothing else: what is shipped for tests stays out by itself,
and a new module comes along by itself.
"""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

from infra.packaging.errors import PackagingError

ROOM = "adapters"
BLOCKS = ("body", "orelse", "finalbody", "handlers", "cases")
"""The fields of a statement that hold statements, or what holds statements in turn."""


def needed(root: Path, modules: Iterable[str], imports: Iterable[str] = ()) -> set[Path]:
    """The files, relative to `root`, of `modules`, of `imports`, and of what they import within the room.

    `imports` are names as `imported` gives them: each a module, or a member of one.

    Raises:
        PackagingError: one of `modules` does not exist.
    """
    waiting = list(modules)
    for name in waiting:
        if _file(root, name) is None:
            raise PackagingError(f"There is no module {name} under {root}. Check pyproject.toml.")
    waiting += imports
    found: set[Path] = set()
    while waiting:
        for path in _with_parents(root, waiting.pop()):
            if path not in found:
                found.add(path)
                waiting += imported(root / path)
    return found


def imported(path: Path) -> Iterator[str]:
    """The names within the room that a file imports; a member counts as a name of its own."""
    for node in _statements(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from (name for name in names if name.split(".")[0] == ROOM)


def _statements(tree: ast.AST) -> Iterator[ast.AST]:
    """All of a module's, at every depth. Not `ast.walk`: most nodes are expressions, which import nothing."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        for block in BLOCKS:
            waiting += getattr(node, block, ())


def _with_parents(root: Path, name: str) -> list[Path]:
    """Importing a.b.c runs a, a.b and a.b.c; what has no file is a member of its parent."""
    parts = name.split(".")
    files = (_file(root, ".".join(parts[: length + 1])) for length in range(len(parts)))
    return [path for path in files if path is not None]


def _file(root: Path, name: str) -> Path | None:
    base = Path(*name.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if (root / path).is_file():
            return path
    return None
