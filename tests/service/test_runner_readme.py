"""The README of the stand-in: its commands run, and its tables name every flag and every counter."""

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import rehearsal.service
from mtrl.commands.service import service as command

from .stand_in import SECONDS, AgentServer
from .test_runner_process import ENVIRONMENT, free_port, process

README = Path(rehearsal.service.__path__[0]) / "README.md"
TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_every_flag_is_explained() -> None:
    flags = {"as_json": "--json"}
    for name in inspect.signature(command).parameters:
        assert f"`{flags.get(name, '--' + name.replace('_', '-'))}`" in TEXT


def test_every_counter_is_explained() -> None:
    sources = "".join(path.read_text() for path in README.parent.rglob("*.py"))
    counted = set(re.findall(r'count\([\w.]+, f?"([^"]+)"\)', sources))
    counted |= set(re.findall(r'kind = "(\w+)" if .* else "(\w+)"', sources)[0])
    counted = {re.sub(r"\{operation\}_\{\w+\}", "<operation>_<kind>", name) for name in counted}
    counted = (counted - {"sealed_{status}"}) | {"sealed_ready", "sealed_failed"}
    assert len(counted) > 14
    assert {name for name in counted if f"`{name}`" not in TEXT} == set()


def test_every_command_runs(tmp_path: Path) -> None:
    first, faulty, exports, counts = blocks("sh")
    (python,) = blocks("python")
    agent, port = AgentServer(), free_port()
    here = {"8800": str(port), "http://127.0.0.1:8080": agent.url, "out/": f"{tmp_path}/"}

    def local(text: str) -> str:
        for there, ours in here.items():
            text = text.replace(there, ours)
        return text

    variables = dict(part.split("=", 1) for line in exports.splitlines() for part in shlex.split(line)[1:])
    environment = {**ENVIRONMENT, **{name: local(value) for name, value in variables.items()}}
    try:
        with process(*shlex.split(local(first))[2:]) as (_, endpoint):
            assert endpoint == environment["AWS_ENDPOINT_URL_SAGEMAKER"]
            done = subprocess.run(
                [sys.executable, "-c", local(python)],
                env=environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.stdout.split() == ["Completed"], done.stderr
            told = subprocess.run(
                shlex.split(local(counts)), capture_output=True, text=True, timeout=SECONDS, check=True
            )
            assert '"rewards":64' in told.stdout
        with process(*shlex.split(local(faulty))[2:]):
            pass
    finally:
        agent.close()
    assert (tmp_path / "example" / "example" / "metrics.jsonl").exists()
    assert os.listdir(tmp_path / "faults")
