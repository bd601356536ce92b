"""Assets for the tests of packaging: staged with a small folder of vendored packages, listed and hashed."""

import hashlib
import re
import stat
from pathlib import Path
from typing import Literal

from infra.packaging import vendor
from infra.packaging.lock import normalized
from infra.packaging.stage import Package, stage

Target = Literal["container", "ec2", "agentcore"]
ROOT = Path(__file__).parents[2]
TARGETS: tuple[Target, ...] = ("container", "ec2", "agentcore")
REQUIREMENTS = ROOT / vendor.REQUIREMENTS


def packages_in(folder: Path) -> Path:
    """Vendored packages with today's stamp: one, and empty."""
    (folder / "aiohttp").mkdir()
    (folder / "aiohttp" / "__init__.py").write_text("")
    (folder / vendor.STAMP).write_text(vendor.stamp(ROOT))
    return folder


def staged(target: Target, out: Path, packages: Path, environment: str = "sop") -> Path:
    return stage(Package(target=target, environment=environment), root=ROOT, out=out, vendor=packages)


def listing(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def tree_hash(folder: Path) -> str:
    lines = [
        f"{name} {stat.S_IMODE((folder / name).stat().st_mode):o} "
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}"
        for name in sorted(listing(folder))
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def pins(path: Path) -> dict[str, str]:
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {normalized(name): version for name, version in found}
