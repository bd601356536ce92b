"""The architecture law: which room may import which (see docs/architecture.md). Blocking."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"adapters", "rehearsal", "mtrl", "infra", "tests", "bench"}

INFRA_SHARED = (
    "infra.settings",
    "infra.target_settings",
    "infra.hyperparameters",
    "infra.seal_keys",
    "infra.names",
    "infra.policy",
    "infra.function",
    "infra.log_group",
    "infra.removal",
)
# What each room may import of the project, by longest matching prefix. Rooms within a room see themselves.
LAW: dict[str, tuple[str, ...]] = {
    "adapters.contract": ("adapters.contract",),
    "adapters.runtime": ("adapters.contract", "adapters.runtime"),
    "adapters.entrypoints": ("adapters.contract", "adapters.runtime", "adapters.entrypoints"),
    "adapters.loops": ("adapters.contract", "adapters.loops"),
    "rehearsal.policies": ("adapters.contract", "rehearsal.policies"),
    "rehearsal.trainer": ("adapters.contract", "rehearsal.policies.base", "rehearsal.trainer"),
    "rehearsal.service": ("adapters.contract", "rehearsal"),
    "mtrl": ("mtrl", "rehearsal", "adapters"),
    # Packaging runs at synthesis and by itself: it needs no CDK, and the rest of infra not either.
    "infra.packaging": ("infra.packaging",),
    "infra.settings": ("infra.settings", "infra.target_settings", "infra.hyperparameters", "infra.seal_keys"),
    "infra.seal_keys": (),
    "infra.target_settings": (),
    "infra.context": ("infra.context", "infra.adapter_files", "infra.errors", "infra.settings"),
    "infra.adapter_files": (),
    "infra.names": ("infra.names", "infra.settings", "infra.target_settings"),
    "infra.policy": ("infra.policy", "infra.names", "infra.seal_keys"),
    **{
        f"infra.{room}": (*INFRA_SHARED, f"infra.{room}", *more)
        for room, more in {
            "foundation": (),
            "network": (),
            "intake": (),
            "observability": (),
            "targets": ("infra.network", "infra.packaging"),
            # Whom a job invokes is what a target gives back.
            "customization": ("infra.network", "infra.targets.contract"),
        }.items()
    },
    # The only modules that see all rooms: they wire, or drive the whole.
    "infra": ("infra",),
}
ENVIRONMENT_MAY = ("adapters.contract",)
# Libraries that must stay out of a room, because its images or its users do not have them.
FOREIGN: dict[str, frozenset[str]] = {
    "adapters": frozenset({"aws_cdk", "typer", "rich", "numpy", "boto3", "jinja2"}),
    "rehearsal": frozenset({"aws_cdk", "typer", "rich"}),
    "mtrl": frozenset({"aws_cdk"}),
    # Synthesis is pure: no call to AWS, whatever the credentials.
    "infra": frozenset({"boto3", "botocore", "typer", "rich"}),
}
MAX_LINES = 400


def modules() -> Iterator[tuple[str, Path]]:
    for top in ("adapters", "rehearsal", "mtrl", "infra"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room they name"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def allowed(module: str) -> tuple[str, ...]:
    if module.startswith("adapters.environments."):
        own = ".".join(module.split(".")[:3])
        return (*ENVIRONMENT_MAY, own)
    rooms = [room for room in LAW if module == room or module.startswith(room + ".")]
    return LAW[max(rooms, key=len)] if rooms else ("adapters.contract",)


def within(name: str, rooms: tuple[str, ...]) -> bool:
    return any(name == room or name.startswith(room + ".") for room in rooms)


MODULES = list(modules())


def test_the_tree_is_there() -> None:
    assert len(MODULES) > 50


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_room_imports_only_what_the_law_allows(module: str, path: Path) -> None:
    ours = {name for name in imports(path) if name.split(".")[0] in OURS}
    rooms = allowed(module)
    # `from adapters.contract import X` is named twice, as the module and as the member: one must match.
    breaches = {
        name for name in ours if not within(name, rooms) and not any(r.startswith(name) for r in rooms)
    }
    assert not breaches, f"{module} may import {rooms}, but imports {sorted(breaches)}"


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_room_keeps_out_foreign_libraries(module: str, path: Path) -> None:
    foreign = FOREIGN.get(module.split(".")[0], frozenset())
    assert not foreign & {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_files_stay_small_and_say_what_they_are(module: str, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert not text.strip() or ast.get_docstring(ast.parse(text)), f"{module} has no module docstring"


def test_a_lambda_function_needs_only_what_its_runtime_has() -> None:
    """The standard library, boto3, and files of its own folder."""
    for folder in sorted((ROOT / "lambda").iterdir()):
        own = {path.stem for path in folder.glob("*.py")}
        for path in folder.rglob("*.py"):
            foreign = {name.split(".")[0] for name in imports(path)} - own - {"boto3", "botocore"}
            assert foreign <= sys.stdlib_module_names, f"{path}: {foreign - sys.stdlib_module_names}"


def test_the_law_catches_a_breach(tmp_path: Path) -> None:
    culprit = tmp_path / "culprit.py"
    culprit.write_text("from rehearsal.trainer import update\nimport adapters.runtime.gate\n")
    found = {name for name in imports(culprit) if not within(name, allowed("adapters.environments.sop.x"))}
    assert {"rehearsal.trainer.update", "adapters.runtime.gate"} <= found


def test_the_adapter_starts_without_the_extras() -> None:
    """The image of an adapter has the base dependencies only."""
    import subprocess

    blocked = sorted(FOREIGN["adapters"] | {"pyarrow", "pandas"})
    code = (
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({blocked!r}))\n"  # None makes an import fail
        "import adapters.entrypoints.http\n"
        "from adapters.environments.sop import create\n"
        "create({})\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
