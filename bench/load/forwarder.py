"""The forwarder: what it adds to boto3's import and to a bare `send_message`, its package, its bill.

The child process talks to a queue that answers at once, so that what is compared is the function's own work.
Billed time is that of this machine and this queue; on AWS the send itself takes some milliseconds more.
"""

import asyncio
import hashlib
import io
import json
import math
import os
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import orjson

from bench.load import world
from bench.load.candidates import ROOT
from bench.load.wire import Request, listen

FOLDER = ROOT / "lambda/forwarder"
PROCESSES = 7
EPISODE_SECONDS = 14.0
"""What the documented template waits for: it calls the agent, and answers when the episode is over."""
CHILD = """
import importlib.util, json, os, sys, time
began = time.process_time()
import boto3, botocore.config, botocore.exceptions
boto = time.process_time()
spec = importlib.util.spec_from_file_location("handler", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
loaded = time.process_time()
event = json.loads(sys.argv[2])
client, queue = boto3.client("sqs", config=module._CONFIG), os.environ["MTRL_QUEUE_URL"]
body = json.dumps({**event, "received_at": time.time()}, separators=(",", ":"))
for _ in range(20):
    assert module.handler(event, None) == {}
    client.send_message(QueueUrl=queue, MessageBody=body)
ours, bare, wall = [], [], []
for _ in range(12):
    start, at = time.process_time(), time.perf_counter()
    for _ in range(25):
        module.handler(event, None)
    ours.append(time.process_time() - start)
    wall.append((time.perf_counter() - at) / 25)
    start = time.process_time()
    for _ in range(25):
        client.send_message(QueueUrl=queue, MessageBody=body)
    bare.append(time.process_time() - start)
found = {"boto3_s": boto - began, "import_s": loaded - boto, "ours": ours, "bare": bare, "wall": wall}
print(json.dumps(found))
"""


def _answer(request: Request) -> None:
    """SQS's answer to SendMessage: boto3 checks the digest."""
    text: str = orjson.loads(request.body)["MessageBody"]
    digest = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    said = orjson.dumps({"MessageId": "m", "MD5OfMessageBody": digest})
    request.reply(said, kind=b"application/x-amz-json-1.0")


async def measure() -> dict[str, Any]:
    """All figures, and how they stand against the goals."""
    server, url = await listen(_answer)
    try:
        found = [await asyncio.to_thread(_child, url) for _ in range(PROCESSES)]
    finally:
        server.close()
    ratios = [a / b for run in found for a, b in zip(run["ours"], run["bare"], strict=True)]
    wall_ms = statistics.median(second for run in found for second in run["wall"]) * 1e3
    billed = math.ceil(wall_ms)
    figures = {
        "package_bytes": _package_bytes(),
        "import_beyond_boto3_ms": round(statistics.median(run["import_s"] for run in found) * 1e3, 2),
        "boto3_import_ms": round(statistics.median(run["boto3_s"] for run in found) * 1e3, 1),
        "handler_cpu_of_bare_send": round(statistics.median(ratios), 3),
        "handler_wall_ms": round(wall_ms, 2),
        "billed_ms_per_1000_rollouts": billed * 1000,
        "template_billed_ms_per_1000_rollouts": int(EPISODE_SECONDS * 1e6),
    }
    return {**figures, "goals": _goals(figures)}


def _goals(figures: dict[str, Any]) -> list[dict[str, Any]]:
    share = figures["billed_ms_per_1000_rollouts"] / figures["template_billed_ms_per_1000_rollouts"]
    measured = (
        ("forwarder: package, bytes", figures["package_bytes"], 20_000),
        ("forwarder: import beyond boto3, ms", figures["import_beyond_boto3_ms"], 30),
        ("forwarder: CPU of the handler, of a bare send_message", figures["handler_cpu_of_bare_send"], 1.3),
        ("forwarder: billed time, of a template that waits 14 s", share, 0.01),
    )
    return [
        {"measure": name, "value": value, "goal": bound, "met": value <= bound}
        for name, value, bound in measured
    ]


def _package_bytes() -> int:
    """The function's folder as a zip, as Lambda gets it."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as package:
        for path in sorted(FOLDER.rglob("*.py")):
            package.write(path, path.relative_to(FOLDER))
    return len(held.getvalue())


def _child(url: str) -> dict[str, Any]:
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "MTRL_"))},
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": world.REGION,
        "AWS_DEFAULT_REGION": world.REGION,
        "AWS_ENDPOINT_URL": url,
        "MTRL_QUEUE_URL": f"{url}/123456789012/rollouts",
    }
    event = json.dumps(world.rollout_request("forwarded-1", 300, url))
    command = [sys.executable, "-c", CHILD, str(FOLDER / "handler.py"), event]
    said = subprocess.run(  # noqa: S603
        command, env=variables, capture_output=True, text=True, check=True, timeout=120, cwd=Path("/")
    )
    measured: dict[str, Any] = json.loads(said.stdout)
    return measured


def table(figures: dict[str, Any]) -> str:
    """Markdown."""
    rows = [f"| {name.replace('_', ' ')} | {value:g} |" for name, value in figures.items() if name != "goals"]
    return "\n".join(["| forwarder | measured |", "|---|---|", *rows]) + "\n"
