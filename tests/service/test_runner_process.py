"""`mtrl service` as a real process: its start, its end, a kill in the middle of a job, and mistakes."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mtrl.application import app

from .stand_in import (
    SECONDS,
    AgentServer,
    Rollout,
    StandIn,
    aws,
    create_job,
    dataset,
    metrics,
    play,
    training,
    untimed,
    wait_for_job,
)
from .test_runner_jobs import final

COMMAND = [sys.executable, "-m", "mtrl", "service"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def process(*options: object) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A running `mtrl service --json`, and its endpoint."""
    started = subprocess.Popen(
        [*COMMAND, "--json", *map(str, options)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    try:
        told = json.loads(started.stdout.readline())
        assert told == {"endpoint": told["endpoint"], "pid": started.pid}
        yield started, told["endpoint"]
    finally:
        started.kill()
        started.wait()
        started.stdout.close()


class Watched:
    """The usual play, with an event when a given number of rollouts of a step have been rewarded."""

    def __init__(self, prefix: str, number: int) -> None:
        self.reached = threading.Event()
        self._prefix, self._left = prefix, number

    async def __call__(self, rollout: Rollout) -> None:
        await play(rollout)
        if rollout.id.startswith(self._prefix):
            self._left -= 1
            if self._left == 0:
                self.reached.set()


def test_a_killed_service_goes_on_with_its_step(tmp_path: Path) -> None:
    """And ends where an uninterrupted run with the same seed ends, to the last bit."""
    data, port = dataset(tmp_path / "train.jsonl"), free_port()
    watched = Watched("train-00001", 20)
    agent = AgentServer(watched)
    options = ("--port", port, "--state", tmp_path / "state", "--agent", agent.url, "--seed", 3)
    settings = {"max_steps": 4, "val_every": 0}
    try:
        with process(*options) as (first, endpoint):
            client = aws("sagemaker", endpoint)
            create_job(client, "job", training(data, tmp_path / "cut", **settings))
            assert watched.reached.wait(SECONDS)
            first.send_signal(signal.SIGKILL)
            first.wait()
        before = {payload["metadata"]["rolloutId"] for payload in agent.payloads}
        count = len(agent.payloads)
        # As if the kill had come between the line and the record of the step.
        with (tmp_path / "cut" / "job" / "metrics.jsonl").open("a") as file:
            file.write('{"step": 2}\n')
        with process(*options) as (second, endpoint):
            job = wait_for_job(client, "job")
            second.send_signal(signal.SIGTERM)
            assert second.wait(SECONDS) == 0
        assert job["JobStatus"] == "Completed", job.get("FailureReason")
        flow = ["Starting", "Downloading", "Training"]
        assert job["history"] == [*flow, "Restarting", *flow[1:], "Uploading", "Completed"]
        again = [payload["metadata"]["rolloutId"] for payload in agent.payloads[count:]]
        assert {name.split("-")[1] for name in again} == {"00001", "00002", "00003"}
        assert not before & set(again), "a rollout of before the kill must not be joined by its successor"

        whole = StandIn(tmp_path / "other", agents={"*": agent.url}, seed=3)
        whole.create("job", training(data, tmp_path / "whole", **settings))
        reference = whole.wait("job")
        whole.close()
    finally:
        agent.close()
    cut, uncut = (list(map(untimed, metrics(tmp_path / name, "job"))) for name in ("cut", "whole"))
    assert cut == uncut
    assert final(tmp_path / "cut", "job") == final(tmp_path / "whole", "job")
    assert job["output"] == reference["output"]


def test_it_ends_cleanly_with_requests_and_jobs_in_flight(tmp_path: Path) -> None:
    data = dataset(tmp_path / "train.jsonl")
    watched = Watched("train-00000", 1)
    agent = AgentServer(watched)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            state = tmp_path / str(number)
            with process("--port", 0, "--state", state, "--agent", agent.url) as (running, endpoint):
                create_job(aws("sagemaker", endpoint), "job", training(data, tmp_path / "out"))
                assert watched.reached.wait(SECONDS)
                running.send_signal(number)
                assert running.wait(SECONDS) == 0
    finally:
        agent.close()


def test_mistakes_end_in_one_sentence(tmp_path: Path) -> None:
    """Exit code 2, what was wrong and what to do; in real processes, all at once."""
    state = tmp_path / "state"
    with process("--port", 0, "--state", state) as (_, endpoint):
        port = endpoint.rsplit(":", 1)[1]
        cases: dict[tuple[Any, ...], str] = {
            ("--port", port): f"Port {port} cannot be used",
            ("--port", 0, "--state", state): "is in use by another process",
            ("--fault", "500=0.1"): "Faults: 429, 5xx",
        }
        started = {
            options: subprocess.Popen(
                [*COMMAND, "--state", str(tmp_path / f"new-{n}"), *map(str, options)],
                env={**ENVIRONMENT, "COLUMNS": "300"},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for n, options in enumerate(cases)
        }
        for options, each in started.items():
            out, err = each.communicate(timeout=SECONDS)
            assert (each.returncode, out) == (2, ""), (options, err)
            assert err.startswith("mtrl: "), (options, err)
            assert cases[options] in err, (options, err)
            assert err.count("\n") == 1, (options, err)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--port", "70000"], "from 0 to 65535"),
        (["--state", "{script}"], "cannot be used"),
        (["--fault", "429=2"], "from 0 to 1"),
        (["--fault", "429=0.6", "--fault", "lost=0.6"], "add up to more than 1"),
        (["--agent", "localhost:8080"], "neither a URL nor ARN=URL"),
        (["--forwarder", "none.py"], "Give the path of a handler.py"),
        (
            ["--policy", "gpt"],
            "Accepted: tiny, a checkpoint (or a rehearsal's folder), scripted:FILE, openai:URL",
        ),
        (["--region", "mars"], "--region 'mars' is no Region. Example: --region us-west-2"),
        (["--account", "abc"], "--account 'abc' is no account id (12 digits)"),
        (["--fail-on", "none", "--fail-on", "lost"], "--fail-on none goes with no other"),
        (["--policy", "scripted:none.json"], "Cannot read the script none.json"),
        (["--policy", "scripted:{script}"], "at least one"),
        (["--policy", "openai:host"], "openai:http://host/v1"),
        (["--retry-ids", "keep"], "neither renew nor reuse"),
        (["--fail-on", "rain"], "Accepted: no-sample, failed, failed-unsampled, lost, none"),
    ],
)
def test_each_mistake_says_what_to_do(tmp_path: Path, options: list[str], says: str) -> None:
    script = tmp_path / "script.json"
    script.write_text("[]")
    given = [option.format(script=script) for option in options]
    state = [] if "--state" in given else ["--state", str(tmp_path / "state")]
    done = CliRunner(env={"COLUMNS": "300"}).invoke(app, ["service", *state, "--port", "0", *given])
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("mtrl: ")
    assert says in " ".join(done.stderr.split())
