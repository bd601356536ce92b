"""`mtrl deploy-local` as a user runs it: real CDK, real emulator, real processes. And its parts."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from mtrl.deploying.cdk import Assembly, AssemblyError, deployed
from mtrl.deploying.container import Container, DefinitionError, image_command, read_container
from mtrl.deploying.emulator import Emulator
from mtrl.deploying.job import ROLLOUTS, Counts
from mtrl.deploying.processes import background, run
from mtrl.deploying.remains import Remains
from mtrl.deploying.run import Result
from mtrl.deploying.worker import overrides
from mtrl.rehearsing.processes import ProcessError
from tests.aws import client

ROOT = Path(__file__).parents[2]
STACKS = ["mtrl-dev-sop-foundation", "mtrl-dev-sop-intake", "mtrl-dev-sop-observability"]
DONE = {"trajectories": 64, "samples": 200, "sealed_ready": 64, "rewards": 64}
AWS = Emulator("http://127.0.0.1:4566", 1)


def environ() -> dict[str, str]:
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1"}


def mtrl(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "mtrl", "deploy-local", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=400, cwd=ROOT, env=environ(), check=False
    )


def programs(word: str) -> list[str]:
    """The command lines of running processes that hold a word."""
    told = subprocess.run(["ps", "-ewwo", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in told.splitlines() if word in line]


def messages(url: str, queue: str) -> int:
    sqs = client("sqs", url)
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = sqs.get_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=queue)["QueueUrl"], AttributeNames=names
    )
    return sum(int(told["Attributes"][name]) for name in names)


@pytest.mark.deploy_local
def test_64_rollouts_go_through_what_was_deployed(tmp_path: Path) -> None:
    done = mtrl("--json", "--keep", "--out", str(tmp_path / "out"))
    kept = re.search(r"goes on at (\S+)\. It ends with: kill -- -(\d+)", done.stderr)
    assert kept is not None, done.stderr
    try:
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert told.keys() == {"stacks", "rollouts", "completed", "seconds"}
        assert sorted(told["stacks"]) == STACKS
        assert told["completed"] == told["rollouts"] == 64
        assert 0 < told["seconds"] < 120
        assert (
            messages(kept[1], "mtrl-dev-sop-rollouts") == messages(kept[1], "mtrl-dev-sop-dead-letters") == 0
        )
    finally:
        os.killpg(int(kept[2]), signal.SIGKILL)
    for named in ("mtrl-dev-sop-network", "mtrl-dev-sop-adapter-fargate", "mtrl-dev-sop-customization"):
        assert f"Not deployed: {named}: the emulator knows no AWS::" in done.stderr


@pytest.mark.deploy_local
def test_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "mtrl", "deploy-local", "--out", str(out)]
    running = subprocess.Popen(command, cwd=ROOT, env=environ(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(programs(str(out))) < 2:  # the CDK command line, besides ourselves
        assert time.monotonic() < deadline
        assert running.poll() is None
        time.sleep(0.1)
    port = re.search(r"available on port (\d+)", (out / "emulator.log").read_text())
    assert port is not None
    running.send_signal(signal.SIGINT)
    assert running.wait(30) == 130
    assert programs(str(out)) == []
    with pytest.raises(Exception, match="Could not connect"):
        client("sqs", f"http://127.0.0.1:{port[1]}").list_queues()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--emulator", "/does/not/exist"], "/does/not/exist is missing. `make deploy-local` installs it"),
        (["--target", "eks"], "--target 'eks' cannot be rehearsed here"),
        (["--env", "nope"], "unknown env 'nope'. Accepted: dev, prod."),
        (["--env", "prod"], "Choose an environment that pins no account."),
        (["--adapter", "nope"], "unknown adapter 'nope'. Accepted: sop."),
    ],
)
def test_a_mistake_is_one_sentence_and_exit_code_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    program = tmp_path / "ministack"
    program.touch()
    done = mtrl("--emulator", str(program), "--out", str(tmp_path / "out"), *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_a_file_is_no_folder_to_write_to(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    done = mtrl("--emulator", str(tmp_path / "out"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "Not a directory. Choose another folder." in done.stderr
    assert (tmp_path / "out").read_text() == "mine"


def definition(**changes: Any) -> dict[str, Any]:
    variables = [{"Name": "MTRL_ENVIRONMENT", "Value": "sop"}, {"Name": "AWS_REGION", "Value": "us-west-2"}]
    return {"Name": "adapter", "Environment": variables, **changes}


def assembly(folder: Path, *containers: Mapping[str, Any], dockerfile: str = "", images: int = 1) -> Path:
    """A synthesized adapter stack with these containers."""
    task = {
        "Type": "AWS::ECS::TaskDefinition",
        "Properties": {"ContainerDefinitions": list(containers)},
    }
    (folder / "s.template.json").write_text(json.dumps({"Resources": {"Task": task}}))
    source = {"source": {"directory": "context", "dockerBuildTarget": "queue"}}
    (folder / "s.assets.json").write_text(
        json.dumps({"dockerImages": {str(n): source for n in range(images)}})
    )
    (folder / "context").mkdir()
    (folder / "context/Dockerfile").write_text(dockerfile)
    return folder


def test_the_command_is_the_definitions_own(tmp_path: Path) -> None:
    found = read_container(assembly(tmp_path, definition(EntryPoint=["a"], Command=["b", "c"])), "s")
    assert found.command == ("a", "b", "c")
    assert found.environ == {"MTRL_ENVIRONMENT": "sop", "AWS_REGION": "us-west-2"}
    assert found.code == tmp_path / "context/app"


def test_without_a_command_it_is_the_images(tmp_path: Path) -> None:
    dockerfile = 'FROM x AS base\nCMD ["no"]\nFROM base AS queue\nCMD ["yes"]\nFROM base\nCMD ["no"]\n'
    assert read_container(assembly(tmp_path, definition(), dockerfile=dockerfile), "s").command == ("yes",)


@pytest.mark.parametrize(
    ("containers", "images", "said"),
    [
        ([definition(Environment=[{"Name": "A", "Value": {"Ref": "Queue"}}], Command=["x"])], 1, '"Ref"'),
        (
            [definition(Environment=[{"Name": "A", "Value": "${Token[T.1]}"}], Command=["x"])],
            1,
            "only on AWS",
        ),
        ([definition(Command=[{"Fn::Sub": "x"}])], 1, "only on AWS"),
        ([definition(Command=["x"], Secrets=[{"Name": "A", "ValueFrom": "arn"}])], 1, "takes secrets"),
        ([definition(Command=["x"])] * 2, 1, "2 container definitions instead of one"),
        ([definition(Command=["x"])], 0, "adapter.image_uri"),
    ],
)
def test_what_is_known_only_on_aws_is_refused(
    containers: list[dict[str, Any]], images: int, said: str, tmp_path: Path
) -> None:
    with pytest.raises(DefinitionError, match=re.escape(said)):
        read_container(assembly(tmp_path, *containers, images=images), "s")


def test_the_shipped_image_starts_the_queue_worker() -> None:
    dockerfile = (ROOT / "adapters/packages/container/Dockerfile").read_text()
    assert image_command(dockerfile, "queue") == ["python", "-m", "adapters.entrypoints.queue"]


@pytest.mark.parametrize(
    ("dockerfile", "target", "command"),
    [
        ('# FROM z\nFROM a\nCMD ["x", \\\n  "y"]\n', None, ["x", "y"]),
        ('FROM a AS b\nCMD ["x"]\nFROM --platform=p b AS c\nRUN true\n', "c", ["x"]),
        ('FROM a\nHEALTHCHECK CMD ["no"]\ncmd ["x"]\n', None, ["x"]),
    ],
)
def test_a_stage_has_the_command_of_its_base(dockerfile: str, target: str | None, command: list[str]) -> None:
    assert image_command(dockerfile, target) == command


@pytest.mark.parametrize(
    ("dockerfile", "target", "said"),
    [
        ("FROM a\nCMD python -m x\n", None, "exec form"),
        ("FROM a\nRUN true\n", None, "names a command"),
        ('FROM a\nCMD ["x"]\n', "queue", "no stage 'queue'"),
        ('FROM a\nENTRYPOINT ["x"]\n', None, "ENTRYPOINT"),
        ("", None, "no stage"),
    ],
)
def test_an_image_without_a_plain_command_is_refused(dockerfile: str, target: str | None, said: str) -> None:
    with pytest.raises(DefinitionError, match=said):
        image_command(dockerfile, target)


def test_every_change_to_the_container_is_named(tmp_path: Path) -> None:
    declared = {"AWS_REGION": "us-west-2", "MTRL_HEALTH_FILE": "/x/alive", "MTRL_QUEUE_URL": "https://q"}
    container = Container(("python", "-m", "worker"), declared, tmp_path)
    changes = overrides(container, AWS, "http://127.0.0.1:1", tmp_path)
    assert changes.command == (sys.executable, "-m", "worker")
    changed = {name for name, value in changes.environ.items() if declared.get(name) != value}
    assert changed | {"python"} == set(changes.reasons)
    assert changes.environ["AWS_ENDPOINT_URL"] == AWS.url
    assert changes.environ["MTRL_QUEUE_URL"] == "https://q"


def stacks(folder: Path, place: str, **types: str) -> Path:
    """An assembly with a stack a noun, of one resource each."""
    artifacts = {}
    for noun, kind in types.items():
        file = f"{noun}.json"
        (folder / file).write_text(json.dumps({"Resources": {"R": {"Type": kind}}}))
        properties = {"templateFile": file}
        artifacts[f"d-{noun}"] = {
            "type": "aws:cloudformation:stack",
            "environment": place,
            "properties": properties,
        }
    (folder / "manifest.json").write_text(json.dumps({"artifacts": artifacts}))
    return folder


PLACE = "aws://000000000000/us-west-2"
WANTED = {"foundation": "AWS::S3::Bucket", "intake": "AWS::SQS::Queue", "observability": "AWS::SNS::Topic"}


def test_what_is_not_deployed_is_named_with_the_reason(tmp_path: Path) -> None:
    found = Assembly.read(stacks(tmp_path, PLACE, **WANTED, network="AWS::EC2::EIP", more="AWS::S3::Bucket"))
    assert found.wanted == ["d-foundation", "d-intake", "d-observability"]
    assert found.left_out() == {
        "d-network": "the emulator knows no AWS::EC2::EIP",
        "d-more": "it needs one of the others",
    }


@pytest.mark.parametrize(
    ("place", "types", "said"),
    [
        (PLACE, {"foundation": "x", "intake": "x"}, "no stack d-observability"),
        (PLACE, {"intake": "x"}, r"named \*-foundation: d-intake"),
        ("aws://222222222222/us-west-2", WANTED, "pins no account"),
    ],
)
def test_an_assembly_that_cannot_be_deployed_here_is_refused(
    place: str, types: dict[str, str], said: str, tmp_path: Path
) -> None:
    with pytest.raises(AssemblyError, match=said):
        Assembly.read(stacks(tmp_path, place, **types))


def test_the_deployed_stacks_are_those_that_the_command_line_reports() -> None:
    first = "\n ✅  \x1b[1ma-foundation\x1b[22m\n\n✨  Deployment time: 0.08s\n"
    log = f"{first}\nb-x: deploying...\n ✅  b-x\n\n✨  Deployment time: 12s\n"
    assert deployed(log) == {"a-foundation": 0.08, "b-x": 12.0}
    assert deployed("❌  a-foundation failed\n✨  Deployment time: 1s") == {}


@pytest.mark.parametrize(
    ("change", "completed"),
    [
        ({}, 64),
        ({"rewards": 63}, 63),
        ({"sealed_ready": 60}, 60),
        ({"sealed_ready": 62, "sealed_failed": 2}, 62),
        ({"sealed_ready": 64, "sealed_failed": 1, "rewards": 64}, 63),
    ],
)
def test_only_what_was_sealed_ready_and_rewarded_is_completed(change: dict[str, int], completed: int) -> None:
    assert Counts({**DONE, **change}).completed == completed


def test_no_counts_are_no_rollouts() -> None:
    assert Counts({}).completed == 0


CLEAN = Remains(queue=0, dead_letters=0, ledger=ROLLOUTS)


@pytest.mark.parametrize(
    ("counts", "left", "status", "said"),
    [
        (DONE, CLEAN, 0, []),
        ({**DONE, "rewards": 63}, CLEAN, 0, ["63 of 64 rollouts were completed"]),
        (DONE, Remains(queue=1, ledger=64), 0, ["1 messages are left in the queue"]),
        (DONE, Remains(dead_letters=2, ledger=64), 0, ["2 messages are in the dead-letter queue"]),
        (DONE, Remains(ledger=63), 0, ["the ledger has 63 items instead of 64"]),
        (DONE, CLEAN, -9, ["the worker ended with exit code -9"]),
        (
            {**DONE, "sample_after_seal": 1},
            CLEAN,
            0,
            ["the stand-in counted breaches: {'sample_after_seal': 1}"],
        ),
    ],
)
def test_a_success_leaves_nothing_behind(
    counts: dict[str, int], left: Remains, status: int, said: list[str]
) -> None:
    assert Result(counts=Counts(counts), remains=left, worker_exit=status).problems() == said


def test_a_failed_command_names_its_log_and_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    with pytest.raises(ProcessError, match=r"thing failed \(exit 3\)") as raised:
        run("thing", ["sh", "-c", "echo why; exit 3"], cwd=tmp_path, environ=environ(), log=log, seconds=20)
    assert str(log) in str(raised.value)
    assert "why" in str(raised.value)


def test_a_command_that_hangs_ends_with_all_it_started(tmp_path: Path) -> None:
    mark = f"31.{os.getpid()}"  # like no other run's
    with pytest.raises(ProcessError, match="took longer than 1 s"):
        run(
            "thing",
            ["sh", "-c", f"sleep {mark} & sleep {mark}"],
            cwd=tmp_path,
            environ=environ(),
            log=tmp_path / "x.log",
            seconds=1,
        )
    assert programs(f"sleep {mark}") == []


def test_a_process_that_ends_at_its_start_is_reported(tmp_path: Path) -> None:
    starting = background(
        "thing", ["sh", "-c", "echo no; exit 1"], cwd=tmp_path, environ=environ(), log=tmp_path / "x.log",
        ready=lambda: False,
    )  # fmt: skip
    with pytest.raises(ProcessError, match=r"thing ended at its start \(exit 1\)[^$]*no"), starting:
        pass


def test_what_is_kept_goes_on_unless_the_user_broke_off(tmp_path: Path) -> None:
    def start(mark: str, *, keep: bool) -> Any:
        return background(
            "thing", ["sleep", mark], cwd=tmp_path, environ=environ(), log=tmp_path / "x.log",
            ready=lambda: True, keep=keep,
        )  # fmt: skip

    with start("27.1828", keep=True) as process:
        pass
    try:
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()
    with pytest.raises(KeyboardInterrupt), start("27.1828", keep=True) as process:
        raise KeyboardInterrupt
    assert process.returncode == -signal.SIGTERM
