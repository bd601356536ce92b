"""What the observability tests share: a deployment, and a line as its adapter writes it."""

import importlib.util
import io
import json
from types import ModuleType
from typing import Any

from adapters.contract import Outcome, Reward, RolloutRequest, Score, StopReason, Transcript
from adapters.runtime.telemetry import RolloutLine, Telemetry
from infra.settings import Deployment
from tests.aws import REGION
from tests.infra.conftest import ACCOUNT, ROOT

NAME = "mtrl-dev-sop"
TOPIC = f"arn:aws:sns:us-west-2:{ACCOUNT}:{NAME}-notices"


def deployment(target: str = "fargate", workers: int = 1, **observability: Any) -> Deployment:
    kind: dict[str, Any] = {"kind": target}
    if target != "agentcore":
        kind["workers"] = {"min": workers, "max": 4}
    return Deployment.model_validate(
        {
            "env": "dev",
            "account": ACCOUNT,
            "region": REGION,
            "adapter": {"environment": "sop"},
            "target": kind,
            "observability": observability,
        }
    )


def load(noun: str) -> ModuleType:
    """The handler of a function, by its path."""
    spec = importlib.util.spec_from_file_location(f"{noun}_handler", ROOT / f"lambda/{noun}/handler.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rollout_line() -> dict[str, Any]:
    """A line as the adapter of this deployment writes it."""
    job = f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:job/AgentRFT/{NAME}-1"
    request = RolloutRequest.from_wire({"prompt": "p", "metadata": {"jobArn": job, "rolloutId": "r"}})
    outcome = Outcome(StopReason.ANSWERED, "ready", (1.0,))
    stream = io.StringIO()
    line = RolloutLine(request, Transcript(), outcome, Reward(1.0), Score(0.0), 1.0)
    Telemetry(NAME, "sop", stream=stream).rollout(line)
    written: dict[str, Any] = json.loads(stream.getvalue())
    return written
