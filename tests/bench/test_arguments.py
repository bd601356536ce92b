"""A bench refuses what it cannot measure before it starts or overwrites anything, and ends what it starts."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.chaos_kit.job import size_problem

ROOT = Path(__file__).parents[2]


def bench(module: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", f"bench.{module}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("synth", ["--env", "nope"], "unknown env 'nope'. Accepted: dev, prod."),
        ("synth", ["--target", "nope"], "unknown target 'nope'."),
        ("synth", ["--runs", "0"], "--runs: '0' is no whole number from 1"),
        ("load", ["--only", "nope"], "--only: invalid choice: 'nope'"),
        ("load", ["--levels", "0"], "--levels: '0' is no whole number from 1"),
        ("load", ["--runs", "0"], "--runs: '0' is no whole number from 1"),
        ("chaos", ["--rollouts", "0"], "--rollouts: '0' is no whole number from 1"),
        ("chaos", ["--rollouts", "-5"], "--rollouts: '-5' is no whole number from 1"),
        ("chaos", ["--rollouts", "7"], "7 is no multiple of 5, the rollouts of a prompt; the next is 10"),
        ("chaos", ["--rollouts", "1230"], "--rollouts: 1230 is above 1225, 5 of each task that there is"),
    ],
)
def test_a_mistake_starts_nothing(module: str, arguments: list[str], said: str, tmp_path: Path) -> None:
    out = [] if module == "synth" else ["--out", str(tmp_path / "out")]
    done = bench(module, *out, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_every_size_that_is_documented_is_one() -> None:
    assert [size_problem(size) for size in (5, 60, 300, 1000, 1225)] == [None] * 5


def _children(pid: int) -> list[int]:
    told = subprocess.run(["ps", "-eo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in told.splitlines() if line.split()[1] == str(pid)]


def test_sigterm_ends_the_adapter_under_test(tmp_path: Path) -> None:
    arguments = ["--quick", "--only", "mtrl-kit", "--levels", "1", "--out", str(tmp_path)]
    command = [sys.executable, "-m", "bench.load", *arguments]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "mtrl-kit.log").exists() or not (started := _children(running.pid)):
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.02)
    running.send_signal(signal.SIGTERM)
    assert running.wait(30) == 128 + signal.SIGTERM
    for pid in started:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
