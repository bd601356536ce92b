"""`mtrl probe` as a user runs it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mtrl.application import app
from mtrl.commands import probe as command
from mtrl.probing.probe import probe as run_probe
from tests.probing.plugin import install, mtrl


@pytest.fixture(scope="module")
def environ(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return install(tmp_path_factory.mktemp("plugin"))


def test_an_exploit_is_exit_code_1_and_the_promised_json(environ: dict[str, str]) -> None:
    done = mtrl(
        environ, "probe", "--environment", "absence_of_errors", "--tasks", "1", "--seconds", "2", "--json"
    )
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert {"exploits", "seconds"} <= found.keys()
    for exploit in found["exploits"]:
        assert {"kind", "reward", "score", "transcript"} <= exploit.keys()
        assert exploit["reward"] >= 1 > exploit["score"]
        assert [message["role"] for message in exploit["transcript"]][-1] in ("assistant", "tool")
    kinds = [exploit["kind"] for exploit in found["exploits"]]
    assert len(kinds) == len(set(kinds)) > 0


def test_a_sound_reward_is_exit_code_0_and_says_so(environ: dict[str, str]) -> None:
    done = mtrl(environ, "probe", "--domain", "lab_intake", "--tasks", "1", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "No exploit in " in done.stderr
    assert "(success from 1 on, shaping up to 0.4)" in done.stderr


def test_an_exploit_is_shown_to_people(environ: dict[str, str]) -> None:
    done = mtrl(environ, "probe", "--environment", "format_is_success", "--tasks", "2", "--seconds", "2")
    assert done.returncode == 1, done.stderr
    assert "reward 1, score 0" in done.stdout
    assert "assistant <final_output>{" in done.stdout
    assert "kinds of exploit in " in done.stderr


def test_a_probe_that_got_to_no_search_is_exit_code_3_and_says_no_exploit_nowhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(command, "run_probe", lambda wanted: run_probe(replace(wanted, seconds=0.001)))
    done = CliRunner().invoke(app, ["probe", "--environment", "sop"])
    assert done.exit_code == 3
    assert "Inconclusive, give it more --seconds: nothing was edited in 4 " in done.stderr
    assert "of 1 of 6 tasks" in " ".join(done.stderr.split())
    assert "No exploit" not in done.stderr
    done = CliRunner().invoke(app, ["probe", "--environment", "sop", "--json"])
    assert (done.exit_code, json.loads(done.stdout)["edits"]) == (3, 0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--environment", "so"], "Did you mean 'sop'?"),
        (["--domain", "returns_dsk"], "Did you mean 'returns_desk'?"),
        (["--tasks", "0"], "--tasks"),
    ],
)
def test_a_mistake_is_exit_code_2_without_a_traceback(
    environ: dict[str, str], arguments: list[str], said: str, tmp_path: Path
) -> None:
    done = mtrl(environ, "probe", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
