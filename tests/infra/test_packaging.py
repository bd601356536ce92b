"""The assets of an adapter: the same bytes twice, nothing but what is needed inside, and they start."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import distribution
from pathlib import Path

import pytest

from infra.packaging import vendor
from infra.packaging.errors import PackagingError
from infra.packaging.stage import HEALTH_COMMAND, HTTP_COMMAND, QUEUE_COMMAND, Package, stage
from mtrl.rehearsing.processes import child_environ, free_port
from tests.infra.packaging_kit import (
    REQUIREMENTS,
    ROOT,
    TARGETS,
    Target,
    listing,
    packages_in,
    pins,
    staged,
    tree_hash,
)

START_SECONDS = 60.0
DOMAIN = ("metadata.json", "sop.txt", "test_set_with_outputs.csv", "tools.py", "toolspecs.json")


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packages_in(tmp_path_factory.mktemp("vendor"))


@pytest.mark.parametrize("target", TARGETS)
def test_an_asset_has_the_same_bytes_and_modes_twice(target: Target, tmp_path: Path, packages: Path) -> None:
    first = staged(target, tmp_path / "one", packages)
    before = os.umask(0o077)
    try:
        second = staged(target, tmp_path / "two", packages)
    finally:
        os.umask(before)
    assert tree_hash(first) == tree_hash(second)
    assert all(path.stat().st_mode & 0o005 == 0o005 for path in second.rglob("*") if path.is_dir())


def test_what_an_earlier_asset_held_does_not_stay(tmp_path: Path, packages: Path) -> None:
    folder = staged("container", tmp_path, packages)
    (folder / "app" / "left_over.py").write_text("")
    assert "app/left_over.py" not in listing(staged("container", tmp_path, packages))


def test_an_asset_that_is_there_already_is_left_alone(tmp_path: Path, packages: Path) -> None:
    """Another synthesis may be reading it."""
    folder = staged("container", tmp_path, packages)
    before = {name: (folder / name).stat().st_mtime_ns for name in listing(folder)}
    staged("container", tmp_path, packages)
    assert before == {name: (folder / name).stat().st_mtime_ns for name in listing(folder)}


# What each target holds besides the adapter's own rooms.
AROUND: dict[Target, set[str]] = {
    "container": {"Dockerfile", ".dockerignore", "requirements.txt", "app/healthy.py"},
    "ec2": {"mtrl-adapter.service", "mtrl-drain.service", "drain.py", "install.sh"}
    | {"cloudwatch-agent.json", "logrotate.conf", "mtrl-health.service", "mtrl-health.timer", "healthy.py"}
    | {"vendor/aiohttp/__init__.py"},
    "agentcore": {"main.py", "aiohttp/__init__.py"},
}
ENTRYPOINTS: dict[Target, set[str]] = {
    "container": {"http", "queue", "inbox", "batching"},
    "ec2": {"queue", "inbox", "batching"},
    "agentcore": {"http"},
}


@pytest.mark.parametrize("target", TARGETS)
def test_nothing_but_what_the_target_needs_is_inside(target: Target, tmp_path: Path, packages: Path) -> None:
    names = listing(staged(target, tmp_path, packages))
    app = "" if target == "agentcore" else "app/"
    metadata = {f"{app}mtrl_adapter-0.1.0.dist-info/{name}" for name in ("METADATA", "entry_points.txt")}
    code = names - AROUND[target] - metadata
    assert names >= AROUND[target] | metadata
    assert code == {name for name in code if name.startswith(f"{app}adapters/")}
    rooms = {name.removeprefix(f"{app}adapters/").split("/")[0] for name in code}
    assert rooms == {"__init__.py", "contract", "runtime", "loops", "entrypoints", "environments"}
    entrypoints = {Path(name).stem for name in code if "/entrypoints/" in f"/{name}"}
    assert entrypoints == {"__init__", "process", "sharing", "stopping"} | ENTRYPOINTS[target]
    assert not {
        name for name in names if re.search(r"fake|test_(?!set)|/tests?/|generator|\.pyc|packages/", name)
    }


def test_the_chosen_environment_brings_its_data(tmp_path: Path, packages: Path) -> None:
    names = listing(staged("container", tmp_path, packages))
    domains = {path.parent.name for path in ROOT.glob("adapters/environments/sop/domains/*/metadata.json")}
    assert domains
    assert names >= {f"app/adapters/environments/sop/domains/{d}/{file}" for d in domains for file in DOMAIN}


@asynccontextmanager
async def started(command: list[str], folder: Path, **variables: str) -> AsyncIterator[str]:
    """Start the HTTP entrypoint in `folder`, and stop it at the end; gives its URL."""
    port = str(free_port())
    environ = child_environ({"HOST": "127.0.0.1", "PORT": port, "MTRL_ENVIRONMENT": "sop", **variables})
    log = folder.parent / "adapter.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *command, env=environ, cwd=folder, stdout=out, stderr=out
        )
    try:
        async with asyncio.timeout(START_SECONDS):
            while b'"started"' not in log.read_bytes():
                assert process.returncode is None, log.read_text()
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}"
    finally:
        if process.returncode is None:
            process.terminate()
        assert await asyncio.wait_for(process.wait(), START_SECONDS) == 0, log.read_text()


@pytest.fixture(scope="session")
def base_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the packages of requirements.txt, as links to this machine's, and nothing else."""
    folder = tmp_path_factory.mktemp("base")
    for name in pins(REQUIREMENTS):
        files = distribution(name).files or []
        tops = {path.parts[0] for path in files if path.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            (folder / top).symlink_to(Path(str(distribution(name).locate_file(top))))
    return folder


def isolated(*command: str) -> list[str]:
    """Without site-packages, so that only PYTHONPATH is searched."""
    return [sys.executable, "-S", *command]


async def get(url: str) -> dict[str, object]:
    import aiohttp

    async with aiohttp.ClientSession() as client, client.get(url) as answer:
        assert answer.status == 200
        return dict(await answer.json())


async def test_the_container_app_serves_with_the_base_dependencies_alone(
    tmp_path: Path, packages: Path, base_only: Path
) -> None:
    app = staged("container", tmp_path, packages) / "app"
    path = f"{app}{os.pathsep}{base_only}"
    assert HTTP_COMMAND[0] == QUEUE_COMMAND[0] == HEALTH_COMMAND[0] == "python"
    async with started(isolated(*HTTP_COMMAND[1:]), app, PYTHONPATH=path) as url:
        assert (await get(f"{url}/ping"))["status"] == "Healthy"
        assert await healthy(app, {"PORT": url.rsplit(":", 1)[1]}) == ""
    assert "/ping" in await healthy(app, {"PORT": url.rsplit(":", 1)[1]})


async def test_the_code_zip_starts_from_its_main_file(
    tmp_path: Path, packages: Path, base_only: Path
) -> None:
    """Vendored packages are for another machine, so this machine's stand in for them, beside main.py."""
    folder = staged("agentcore", tmp_path, packages)
    shutil.rmtree(folder / "aiohttp")
    for name in os.listdir(base_only):
        (folder / name).symlink_to(base_only / name)
    # The runtime's port is fixed; a port of ours is put in, as this machine may use that one.
    source = (folder / "main.py").read_text()
    assert '"0.0.0.0", "8080"' in source
    (folder / "main.py").write_text(
        source.replace('"0.0.0.0", "8080"', 'os.environ["HOST"], os.environ["PORT"]')
    )
    async with started(isolated("main.py"), folder) as url:
        assert (await get(f"{url}/ping"))["status"] == "Healthy"


async def healthy(app: Path, variables: dict[str, str], *arguments: str) -> str:
    """What the probe of a container says; nothing if the adapter is well."""
    environ = {**child_environ({}), **variables}
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(app / "healthy.py"), *arguments, env=environ, stderr=asyncio.subprocess.PIPE
    )
    _, said = await process.communicate()
    assert (process.returncode == 0) == (said == b"")
    return said.decode()


async def test_the_probe_of_a_queue_worker_reads_its_sign_of_life(tmp_path: Path, packages: Path) -> None:
    app = staged("container", tmp_path, packages) / "app"
    alive = tmp_path / "alive"
    variables = {"MTRL_HEALTH_FILE": str(alive)}
    assert "No such file" in await healthy(app, variables)
    alive.touch()
    assert await healthy(app, variables) == ""
    os.utime(alive, (alive.stat().st_mtime - 100, alive.stat().st_mtime - 100))
    assert await healthy(app, variables) == ""
    assert "no sign of life" in await healthy(app, variables, "60")


@pytest.mark.parametrize(("group", "name"), [("MTRL_ENVIRONMENT", "fake"), ("MTRL_LOOP", "other")])
def test_what_was_not_chosen_is_refused_by_name(
    group: str, name: str, tmp_path: Path, packages: Path, base_only: Path
) -> None:
    app = staged("container", tmp_path, packages) / "app"
    environ = child_environ(
        {"MTRL_ENVIRONMENT": "sop", "PYTHONPATH": f"{app}{os.pathsep}{base_only}", group: name}
    )
    done = subprocess.run(
        isolated(*HTTP_COMMAND[1:]), env=environ, cwd=app, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert f"{name!r}. Installed: {'sop' if name == 'fake' else 'tools'}." in done.stderr


def test_an_unknown_environment_is_refused_with_the_nearest_name(tmp_path: Path, packages: Path) -> None:
    with pytest.raises(PackagingError, match=r"'sopp'\. Did you mean 'sop'\? Known: .*sop"):
        staged("container", tmp_path, packages, environment="sopp")


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """An environment of a team's own, with what must stay out of an asset."""
    folder = tmp_path / "triage"
    (folder / "data").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__init__.py").write_text("from adapters.contract import Task\n\ncreate = Task\n")
    (folder / "data" / "cases.csv").write_text("a\n")
    (folder / ".env").write_text("SECRET=1\n")
    (folder / "__pycache__" / "x.pyc").write_bytes(b"")
    return (yield folder)


def triage(folder: Path) -> Package:
    return Package(target="container", environment="triage", environment_path=folder)


def test_an_environment_from_elsewhere_replaces_those_of_the_kit(outside: Path, tmp_path: Path) -> None:
    folder = stage(triage(outside), root=ROOT, out=tmp_path / "out")
    names = listing(folder)
    assert {name for name in names if "triage" in name} == {
        "app/triage/__init__.py",
        "app/triage/data/cases.csv",
    }
    assert not {name for name in names if "adapters/environments/" in name}
    metadata = (folder / "app/mtrl_adapter-0.1.0.dist-info/entry_points.txt").read_text()
    assert metadata.splitlines()[:2] == ["[mtrl.environments]", "triage = triage:create"]


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("triage", "requirements.txt", "has a requirements.txt.*adapter.image_uri"),
        ("json", None, "'json' cannot be a package's name here"),
        ("my-env", None, "'my-env' cannot be a package's name here"),
    ],
)
def test_an_environment_that_would_not_run_is_refused(
    name: str, file: str | None, message: str, outside: Path, tmp_path: Path
) -> None:
    folder = outside.rename(tmp_path / name)
    if file:
        (folder / file).write_text("pandas\n")
    with pytest.raises(PackagingError, match=message):
        stage(triage(folder), root=ROOT, out=tmp_path / "out")


@pytest.mark.parametrize("target", ["ec2", "agentcore"])
def test_an_environment_cannot_hide_a_package(
    target: Target, outside: Path, tmp_path: Path, packages: Path
) -> None:
    package = Package(
        target=target, environment="triage", environment_path=outside.rename(tmp_path / "aiohttp")
    )
    with pytest.raises(PackagingError, match="'aiohttp' is a package that the adapter needs"):
        stage(package, root=ROOT, out=tmp_path / "out", vendor=packages)


def test_a_folder_without_a_factory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"needs an __init__\.py with `create`"):
        stage(triage(tmp_path), root=ROOT, out=tmp_path / "out")


@pytest.mark.parametrize("target", ["ec2", "agentcore"])
def test_missing_and_stale_packages_name_the_next_act(target: Target, tmp_path: Path) -> None:
    with pytest.raises(PackagingError, match=r"no vendored packages in .*\. Run: make vendor"):
        staged(target, tmp_path / "out", tmp_path)
    (tmp_path / vendor.STAMP).write_text("of another day")
    with pytest.raises(PackagingError, match=r"not made from today's .*\. Run: make vendor"):
        staged(target, tmp_path / "out", tmp_path)


def test_packages_that_are_fresh_are_not_downloaded_again(
    packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    before = tree_hash(packages)
    vendor.main(["--out", str(packages)])
    assert capsys.readouterr().out == f"{packages}\n"
    assert tree_hash(packages) == before
