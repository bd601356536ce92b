"""96 rollouts in flight on a quarter of a core and half a gigabyte, at a model latency of 2 s.

The CPU quota is a control group's, 25 ms of every 100 ms, as container platforms set it; where no group may
be made, the measurement is left out and says so. Memory is bounded by RLIMIT_DATA, which counts what is
allocated and not only what is resident, so it is stricter than a container's limit.
"""

import contextlib
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.load import world
from bench.load.candidates import FLOOR, OURS
from bench.load.driver import Level
from bench.load.measuring import Bench

SHAPE = world.Shape(latency=2.0)
LEVEL = Level(concurrency=96, rollouts=288, seconds=180.0)
MEMORY_BYTES = 512 * 1024 * 1024
PERIOD_US, QUOTA_US = 100_000, 25_000
GROUPS = Path("/sys/fs/cgroup")


class NoGroup(RuntimeError):
    """No control group with a CPU quota can be made here."""


async def measure(bench: Bench) -> dict[str, Any]:
    """Both adapters in the box, one after the other."""
    found: dict[str, Any] = {}
    try:
        with cpu_quota() as enter:
            for candidate in (OURS, FLOOR):
                async with bench.started(candidate, LEVEL.concurrency) as process:
                    resource.prlimit(process.pid, resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES))
                    enter(process.pid)
                    row = await bench.row(candidate, process, LEVEL, SHAPE, 0)
                found[candidate.adapter] = row.to_json()
    except NoGroup as error:
        found["left_out"] = str(error)
    return found


class _Enter:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self, pid: int) -> None:
        (self._folder / "cgroup.procs").write_text(str(pid))


@contextmanager
def cpu_quota() -> Iterator[_Enter]:
    """A control group below our own, with a quarter of a core. Raises NoGroup."""
    folder, limits = _place()
    try:
        folder.mkdir()
        for name, value in limits.items():
            (folder / name).write_text(value)
    except OSError as error:
        with contextlib.suppress(OSError):
            folder.rmdir()
        raise NoGroup(f"{folder} cannot be made: {error.strerror}") from None
    try:
        yield _Enter(folder)
    finally:
        _remove(folder)


def _place() -> tuple[Path, dict[str, str]]:
    """Where our group goes and what is written into it, for either version of control groups."""
    name = f"mtrl-bench-{os.getpid()}"
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, own = line.split(":", 2)
        if "cpu" in controllers.split(","):
            limits = {"cpu.cfs_period_us": str(PERIOD_US), "cpu.cfs_quota_us": str(QUOTA_US)}
            return GROUPS / "cpu" / own.strip("/") / name, limits
    own = Path("/proc/self/cgroup").read_text().strip().rpartition(":")[2]
    return GROUPS / own.strip("/") / name, {"cpu.max": f"{QUOTA_US} {PERIOD_US}"}


def _remove(folder: Path) -> None:
    """A group goes when its last process has."""
    for _ in range(50):
        try:
            folder.rmdir()
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.1)


def table(found: dict[str, Any]) -> str:
    """Markdown."""
    if "left_out" in found:
        return f"Left out: {found['left_out']}\n"
    lines = [
        "| adapter | rollouts | errors | over ideal p50, p95 (s) | p95 of the ideal | CPU ms a rollout "
        "| peak RSS (MB) |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in found.items():
        p95 = row["over_ideal_p95_s"] or float("nan")
        cpu_ms = (row["cpu_s_per_rollout"] or 0.0) * 1e3
        lines.append(
            f"| {name} | {row['rollouts']} | {row['errors']} | {row['over_ideal_p50_s']}, {p95} "
            f"| {p95 / SHAPE.ideal:.2%} | {cpu_ms:.3g} | {row['peak_rss_mb']:.0f} |"
        )
    return "\n".join(lines) + "\n"
