"""A real adapter against the real stand-in under faults: nothing lost, nothing twice, every doubt counted."""

import json
import urllib.request
from pathlib import Path
from typing import Any

from adapters.environments.sop import create
from mtrl.rehearsing.jobs import JobsClient
from mtrl.rehearsing.processes import adapter, free_port, read_json_lines, service

ROLLOUTS, GROUP = 1000, 4
FAULTS = ["429=0.05", "reset=0.02", "lost=0.01"]


def counts(endpoint: str) -> dict[str, int]:
    with urllib.request.urlopen(f"{endpoint}/_rehearsal/counts", timeout=30) as answer:  # noqa: S310 - loopback
        (counter,) = json.load(answer).values()
    return dict(counter)


def dataset(folder: Path) -> Path:
    tasks = create({}).tasks("returns_desk", "train")
    # Unique rows, as the service asks for: a note outside of the task's input makes them so.
    prompts = [
        json.dumps(json.loads(tasks[n % len(tasks)].to_prompt()) | {"n": n}) for n in range(ROLLOUTS // GROUP)
    ]
    path = folder / "tasks.jsonl"
    path.write_text("".join(json.dumps({"prompt": prompt}) + "\n" for prompt in prompts))
    return path


def test_a_thousand_rollouts(tmp_path: Path) -> None:
    port = free_port()
    endpoint, log = f"http://127.0.0.1:{port}", tmp_path / "adapter.log"
    options = [part for fault in FAULTS for part in ("--fault", fault)] + ["--fail-on", "none", "--seed", "7"]
    with (
        adapter("sop", endpoint, tmp_path / "archive", {}, log) as url,
        service(port, url, tmp_path / "state", options, tmp_path / "service.log") as served,
    ):
        client = JobsClient(served, tmp_path / "jobs")
        settings = {"eval_group_size": str(GROUP), "pass_k_values": "[1]", "rollout_max_concurrency": "96"}
        client.evaluate("thousand", dataset(tmp_path), settings, None, lambda _: None)
        seen = counts(served)
    lines: list[dict[str, Any]] = [line for line in read_json_lines(log) if line.get("event") == "rollout"]
    assert seen["trajectories"] == ROLLOUTS, seen
    assert seen["sealed_ready"] == seen["rewards"] == ROLLOUTS, seen
    assert len({line["rollout_id"] for line in lines}) == len(lines) == ROLLOUTS
    never = ("sealed_failed", "sample_not_extending", "answer_not_verbatim", "unknown_trajectory")
    after = ("sample_after_seal", "reward_before_seal", "reward_misshapen", "rollout_retries")
    assert {name: seen.get(name, 0) for name in never + after} == dict.fromkeys(never + after, 0)
    # A report that was lost comes back, and is known by its ClientToken or refused as already done.
    for kind, operation in (("seal", "complete"), ("reward", "reward")):
        again = seen.get(f"{kind}_refused", 0) + seen.get(f"{kind}_repeated", 0)
        assert again == seen.get(f"fault_{operation}_lost", 0), seen
    assert seen["uncertain_injected"] > 0
    assert sum(line["UncertainSamples"] for line in lines) == seen["uncertain_injected"]
