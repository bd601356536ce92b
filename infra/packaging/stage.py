"""Makes the directory of an asset, from a list of the files that its target needs.

Pure: the same repository gives the same bytes, names and modes, whatever machine, umask or clock there is.
Entrypoints bring what they import; of the environments, only the chosen one is inside, and it is the only
one that the adapter's entry-point discovery can find there.
"""

import argparse
import difflib
import shutil
import stat
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from infra.packaging.errors import PackagingError
from infra.packaging.modules import ROOM, imported, needed
from infra.packaging.vendor import REQUIREMENTS, STAMP, vendored

QUEUE_COMMAND = ("python", "-m", "adapters.entrypoints.queue")
HTTP_COMMAND = ("python", "-m", "adapters.entrypoints.http")
HEALTH_COMMAND = ("python", "/app/healthy.py")
"""What a container's health probe executes; exit code 0 is well."""

PACKAGES = Path("adapters/packages")
ENVIRONMENTS, LOOPS = "mtrl.environments", "mtrl.loops"
STAYS_OUT = frozenset({"__pycache__", "tests", "generator"})
"""Folders of an environment that do not serve: they test it, or wrote its data."""

Form = Literal["container", "ec2", "agentcore"]
"""What is made of the folder: an image, or a zip for an instance or a runtime."""
Files = dict[str, Path | bytes]
"""What is inside: path in the asset, and the file or the bytes it is made from."""


@dataclass(frozen=True, kw_only=True)
class Package:
    """An adapter for a target."""

    target: Form
    environment: str
    """The environment's entry-point name."""
    environment_path: Path | None = None
    """The folder of an environment outside of adapters/environments: a package with a `create` factory."""


def stage(package: Package, *, root: Path, out: Path, vendor: Path | None = None) -> Path:
    """Write the asset into a folder of its own under `out`, and return that folder.

    `vendor` holds the unpacked third-party packages, if not the default folder.

    Raises:
        PackagingError: the environment is unknown or cannot be packaged, or packages are not vendored.
    """
    folder = out / f"{package.target}-{package.environment}"
    _write(folder, _files(package, root, vendor))
    return folder


def _files(package: Package, root: Path, vendor: Path | None) -> Files:
    own = root / PACKAGES / package.target
    match package.target:
        case "container":
            return {
                **_named(own, "Dockerfile", ".dockerignore"),
                "requirements.txt": root / REQUIREMENTS,
                "app/healthy.py": own / "healthy.py",
                **_under("app", _app(package, root, ("queue", "http"))),
            }
        case "ec2":
            app, packages = _app(package, root, ("queue",)), _vendor(root, vendor)
            _check_disjoint(app, packages)
            return {
                **_named(own, "mtrl-adapter.service", "mtrl-drain.service", "drain.py", "install.sh"),
                **_named(own, "mtrl-health.service", "mtrl-health.timer"),
                **_named(own, "cloudwatch-agent.json", "logrotate.conf"),
                "healthy.py": root / PACKAGES / "container/healthy.py",
                **_under("app", app),
                **_under("vendor", packages),
            }
        case "agentcore":
            app, packages = _app(package, root, ("http",)), _vendor(root, vendor)
            _check_disjoint(app, packages)
            return {**_named(own, "main.py"), **app, **packages}
        case _:
            assert_never(package.target)


def _app(package: Package, root: Path, entrypoints: tuple[str, ...]) -> Files:
    """The adapter's code, the chosen environment, and the metadata that entry points are found by."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    loops = project["entry-points"][LOOPS]
    factory, plugin = _environment(package, root, project["entry-points"][ENVIRONMENTS])
    modules = [f"{ROOM}.entrypoints.{name}" for name in entrypoints]
    modules += [value.split(":")[0] for value in loops.values()]
    imports = [name for path in plugin.values() if path.suffix == ".py" for name in _outside(path, factory)]
    return {
        **{path.as_posix(): root / path for path in needed(root, modules, imports)},
        **plugin,
        **_metadata(project["version"], {ENVIRONMENTS: {package.environment: factory}, LOOPS: loops}),
    }


def _environment(package: Package, root: Path, known: Mapping[str, str]) -> tuple[str, dict[str, Path]]:
    """The chosen environment: its factory, and its files by their place in the asset."""
    if package.environment_path is not None:
        folder = package.environment_path.resolve()
        _check_outside(package.environment, folder)
        return f"{folder.name}:create", dict(_plugin(folder, Path(folder.name)))
    if package.environment not in known:
        near = difflib.get_close_matches(package.environment, known, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise PackagingError(
            f"Unknown environment {package.environment!r}.{hint} Known: {', '.join(sorted(known))}. "
            "One that is kept elsewhere needs its folder."
        )
    factory = known[package.environment]
    place = Path(*factory.split(":")[0].split("."))
    parents = {"adapters/environments/__init__.py": root / "adapters/environments/__init__.py"}
    return factory, {**parents, **dict(_plugin(root / place, place))}


def _check_outside(name: str, folder: Path) -> None:
    if not (folder / "__init__.py").is_file():
        raise PackagingError(f"{name}: {folder} is no package: it needs an __init__.py with `create`.")
    if not folder.name.isidentifier() or folder.name in {ROOM, "healthy", "main", *sys.stdlib_module_names}:
        raise PackagingError(
            f"{name}: {folder.name!r} cannot be a package's name here. Rename {folder}; letters, digits and "
            "underscores, and no module of Python or of the adapter."
        )


def _plugin(folder: Path, place: Path) -> Iterator[tuple[str, Path]]:
    """The environment's files. Hidden ones stay out: they are a tool's, or a secret such as `.env`."""
    if (folder / "requirements.txt").exists():
        raise PackagingError(
            f"{folder} has a requirements.txt, and assets hold the kit's own requirements only. "
            "Build an image with both, and set adapter.image_uri."
        )
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        if path.is_file() and not STAYS_OUT & set(parts) and not any(part.startswith(".") for part in parts):
            yield (place / Path(*parts)).as_posix(), path


def _outside(path: Path, factory: str) -> Iterator[str]:
    """What a file of the environment imports of the adapter, the environment itself left aside."""
    own = factory.split(":")[0]
    return (name for name in imported(path) if name != own and not name.startswith(f"{own}."))


def _metadata(version: str, groups: Mapping[str, Mapping[str, Any]]) -> Files:
    """Metadata of a distribution that was never installed: all that importlib needs to find plug-ins."""
    sections = (
        f"[{group}]\n" + "".join(f"{name} = {entries[name]}\n" for name in sorted(entries))
        for group, entries in groups.items()
    )
    folder = f"mtrl_adapter-{version}.dist-info"
    return {
        f"{folder}/METADATA": f"Metadata-Version: 2.1\nName: mtrl-adapter\nVersion: {version}\n".encode(),
        f"{folder}/entry_points.txt": "\n".join(sections).encode(),
    }


def _vendor(root: Path, vendor: Path | None) -> Files:
    folder = vendored(root, vendor)
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name != STAMP)
    return {path.relative_to(folder).as_posix(): path for path in paths}


def _named(folder: Path, *names: str) -> Files:
    return {name: folder / name for name in names}


def _under(place: str, files: Files) -> Files:
    return {f"{place}/{name}": source for name, source in files.items()}


def _check_disjoint(app: Files, packages: Files) -> None:
    """An environment of a package's name would hide that package from the adapter."""
    both = {name.split("/")[0] for name in app} & {name.split("/")[0] for name in packages}
    if both:
        raise PackagingError(
            f"{min(both)!r} is a package that the adapter needs. Rename the environment's folder."
        )


def _write(folder: Path, files: Files) -> None:
    """Replace `folder`, unless it is this asset already: another synthesis may be reading it."""
    if _is(folder, files):
        return
    if folder.exists():
        shutil.rmtree(folder)
    for name, source in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_bytes(source))
    # Set, so that they depend on no umask: the hash of an asset holds them.
    for path in [folder, *folder.rglob("*")]:
        path.chmod(_mode(path))


def _is(folder: Path, files: Files) -> bool:
    there = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return there.keys() == files.keys() and all(
        stat.S_IMODE(path.stat().st_mode) == _mode(path) and path.read_bytes() == _bytes(files[name])
        for name, path in there.items()
    )


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()


def _mode(path: Path) -> int:
    return 0o755 if path.is_dir() or path.suffix == ".sh" else 0o644


def main(arguments: list[str] | None = None) -> None:
    """Stage by hand, to look at an asset or to build it: exit code 2 and a sentence when it fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.packaging.stage", description=__doc__)
    parser.add_argument("target", choices=("container", "ec2", "agentcore"))
    parser.add_argument("environment")
    parser.add_argument("--environment-path", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out/assets"))
    given = parser.parse_args(arguments)
    package = Package(
        target=given.target, environment=given.environment, environment_path=given.environment_path
    )
    try:
        folder = stage(package, root=Path.cwd(), out=given.out)
    except PackagingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    sys.stdout.write(f"{folder}\n")


if __name__ == "__main__":
    main()
