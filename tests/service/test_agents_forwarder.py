"""The forwarder in processes of its own: real handler files, real crashes and hangs."""

import asyncio
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from rehearsal.service import forwarder_process
from rehearsal.service.agents import AgentError, ForwarderAgent
from tests.service.agent_calls import PAYLOAD, handler_file, refused


async def test_forwarder_runs_the_handler_with_its_folder(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("NAME = 'next door'\n")
    body = (
        "import neighbour; print('noise'); os.system('echo more noise'); "
        "return {'event': event, 'n': neighbour.NAME, 'id': context.aws_request_id, "
        "'left': context.get_remaining_time_in_millis(), 'in': sys.stdin.read()}"
    )
    agent = ForwarderAgent(handler_file(tmp_path, body, "lambda_handler"))
    answer = await agent.invoke(PAYLOAD, timeout=10)
    await agent.close()
    assert answer["event"] == PAYLOAD
    assert answer["n"] == "next door"
    assert answer["id"]
    assert 0 < answer["left"] <= 10_000
    assert answer["in"] == ""


async def test_forwarder_empty_object_is_success(tmp_path: Path) -> None:
    agent = ForwarderAgent(handler_file(tmp_path, "return {}"))
    assert await agent.invoke(PAYLOAD, timeout=10) == {}
    await agent.close()


@pytest.mark.parametrize(
    ("body", "text", "retryable"),
    [
        ("return {'errorType': 'ValidationError', 'errorMessage': 'no'}", "ValidationError: no", False),
        ("return {'errorType': 'AccessDenied', 'errorMessage': 'no'}", "AccessDenied: no", False),
        (
            "return {'errorType': 'InternalServerError', 'errorMessage': 'x' * 900}",
            "InternalServerError: x",
            True,
        ),
        ("raise KeyError('prompt')", "the handler raised KeyError: 'prompt'", True),
        ("return {'when': time}", "not JSON", False),
        ("return {'n': float('nan')}", "not JSON", False),
        ("return None", "the answer is no JSON object: 'null'", False),
        ("return 'ok'", "no JSON object", False),
        ("os._exit(3)", "ended with status 3", True),
        ("sys.exit(4)", "ended with status 4", True),
        ("os.kill(os.getpid(), 9)", "ended with status -9", True),
    ],
)
async def test_forwarder_errors(tmp_path: Path, body: str, text: str, retryable: bool) -> None:
    error = await refused(ForwarderAgent(handler_file(tmp_path, body)))
    assert text in str(error)
    assert error.retryable is retryable


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("def other(event, context): ...", "has neither of: handler, lambda_handler"),
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def handler(:", "SyntaxError"),
        (None, "is no file"),
    ],
)
async def test_forwarder_that_cannot_be_loaded(tmp_path: Path, source: str | None, text: str) -> None:
    path = tmp_path / "handler.py"
    if source is not None:
        path.write_text(source)
    error = await refused(ForwarderAgent(path))
    assert text in str(error)
    assert not error.retryable


async def test_forwarder_crash_costs_one_call(tmp_path: Path) -> None:
    body = "return {'pid': os.getpid()} if event.get('ok') else os._exit(1)"
    agent = ForwarderAgent(handler_file(tmp_path, body), workers=1)
    first = await agent.invoke({"ok": 1}, timeout=10)
    assert await agent.invoke({"ok": 1}, timeout=10) == first
    with pytest.raises(AgentError):
        await agent.invoke({}, timeout=10)
    assert await agent.invoke({"ok": 1}, timeout=10) != first
    await agent.close()


async def test_forwarder_hang_is_killed_with_its_children_and_replaced(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    body = (
        "import subprocess\n"
        "    if event.get('ok'): return {'pid': os.getpid()}\n"
        "    child = subprocess.Popen(['sleep', '60'])\n"
        f"    open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "    time.sleep(60)"
    )
    agent = ForwarderAgent(handler_file(tmp_path, body), workers=1)
    await agent.invoke({"ok": 1}, timeout=10)
    with pytest.raises(AgentError, match=r"no answer within 0\.5 s") as info:
        await agent.invoke({}, timeout=0.5)
    assert info.value.retryable
    assert "pid" in await agent.invoke({"ok": 1}, timeout=10)
    await agent.close()
    await until_gone([int(pid) for pid in note.read_text().split()])


async def until_gone(pids: list[int], seconds: float = 5) -> None:
    """Every process has ended (a zombie that init has still to collect counts as ended)."""
    async with asyncio.timeout(seconds):
        for pid in pids:
            while running(pid):  # noqa: ASYNC110 - nothing tells us of a process that is not our child
                await asyncio.sleep(0.02)


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


async def test_forwarder_20_calls_at_once_one_at_a_time_in_each_process(tmp_path: Path) -> None:
    body = (
        "t = time.time(); time.sleep(0.05); "
        "return {'n': event['n'], 'pid': os.getpid(), 'span': (t, time.time())}"
    )
    agent = ForwarderAgent(handler_file(tmp_path, body), workers=3)
    answers = await asyncio.gather(*(agent.invoke({"n": n}, timeout=30) for n in range(20)))
    await agent.close()
    assert [answer["n"] for answer in answers] == list(range(20))
    pids = {answer["pid"] for answer in answers}
    assert len(pids) == 3
    for pid in pids:
        spans = sorted(answer["span"] for answer in answers if answer["pid"] == pid)
        assert all(earlier[1] <= later[0] for earlier, later in pairwise(spans))
    await until_gone(list(pids))


async def test_forwarder_waiting_for_a_place_counts_into_the_timeout(tmp_path: Path) -> None:
    agent = ForwarderAgent(handler_file(tmp_path, "time.sleep(event['s']); return {}"), workers=1)
    await agent.invoke({"s": 0}, timeout=10)
    long = asyncio.create_task(agent.invoke({"s": 1.5}, timeout=10))
    await asyncio.sleep(0.05)
    with pytest.raises(AgentError, match="no answer within"):
        await agent.invoke({"s": 0}, timeout=0.3)
    assert await long == {}
    await agent.close()


async def test_forwarder_close_ends_calls_in_flight(tmp_path: Path) -> None:
    agent = ForwarderAgent(handler_file(tmp_path, "time.sleep(60)"), workers=1)
    calls = [asyncio.create_task(agent.invoke({}, timeout=30)) for _ in range(2)]
    await asyncio.sleep(0.3)
    await agent.close()
    for call in calls:
        with pytest.raises(AgentError):
            await call


def test_no_process_of_a_handler_outlives_its_parent(tmp_path: Path) -> None:
    """A worker ends when the pipe of a killed parent closes."""
    note = tmp_path / "pid"
    path = handler_file(tmp_path, f"open({str(note)!r}, 'w').write(str(os.getpid())); return {{}}")
    script = (
        "import asyncio, os, pathlib\n"
        "from rehearsal.service.agents import ForwarderAgent\n"
        "async def main():\n"
        f"    await ForwarderAgent(pathlib.Path({str(path)!r})).invoke({{}}, timeout=10)\n"
        "    os._exit(0)\n"
        "asyncio.run(main())\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    subprocess.run([sys.executable, "-c", script], check=True, env=env, timeout=30)
    asyncio.run(until_gone([int(note.read_text())]))


def test_the_worker_needs_only_the_standard_library() -> None:
    source = Path(forwarder_process.__file__).read_text()
    imports = [
        line.split()[1].split(".")[0] for line in source.splitlines() if line.startswith(("import", "from"))
    ]
    assert set(imports) <= set(sys.stdlib_module_names)
