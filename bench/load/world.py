"""The episode that every adapter plays: the returns desk's procedure and tool schemas, and costless tools.

Only the standard library is used: peers import this from environments of their own. A rollout's id is its
case id as well, so that every request shows whose conversation it carries.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[2] / "adapters/environments/sop/domains/returns_desk"
ANSWER = '<final_output>{"eligibility": "approved", "policy_code": "APP-60"}</final_output>'
TOOL = "fetch_return"
JOB_ARN = "arn:aws:sagemaker:us-west-2:111122223333:job/AgentRFT/bench"
REGION = "us-west-2"
MODEL = "default"


@dataclass(frozen=True, slots=True)
class Shape:
    """How long an episode is, and how much its tools say."""

    turns: int = 7
    """Samples: all but the last call one tool."""
    result_bytes: int = 300
    latency: float = 0.2
    """Seconds that the model takes for a turn."""

    @property
    def ideal(self) -> float:
        """Seconds of an episode in which the adapter takes no time at all."""
        return self.turns * self.latency


@cache
def system_text() -> str:
    rule = "Look facts up with the tools. Finish with one <final_output> block."
    return f"Work by this procedure.\n\n<sop>\n{(FOLDER / 'sop.txt').read_text()}\n</sop>\n\n{rule}"


@cache
def tools() -> list[dict[str, Any]]:
    """The desk's own tools in OpenAI form; the episode calls one of them, the model is shown all."""
    specs = [item["toolSpec"] for item in json.loads((FOLDER / "toolspecs.json").read_text())]
    return [_function(s["name"], s["description"], s["inputSchema"]["json"]) for s in specs]


def _function(name: str, description: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    if name == TOOL:
        parameters = {
            "type": "object",
            "properties": {"return_id": {"type": "string"}},
            "required": ["return_id"],
        }
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": dict(parameters)},
    }


def user_text(case: str) -> str:
    return f"Process this case by the procedure and give the final output.\ncase=<{case}>"


def call(name: str, arguments: Mapping[str, Any], result_bytes: int) -> str:
    """A tool: names the case that it was asked about, and says as much as it is told to."""
    head = json.dumps({"tool": name, "case": f"case=<{arguments['return_id']}>", "status": "received"})
    return head[:-1] + ', "note": "' + _filling(max(0, result_bytes - len(head) - 13)) + '"}'


@cache
def _filling(length: int) -> str:
    sentence = "The parcel was scanned at the desk and its seal was whole. "
    return (sentence * (length // len(sentence) + 1))[:length]


def right(answer: str) -> bool:
    return ANSWER in answer


def prompt(rollout_id: str, result_bytes: int) -> str:
    """The prompt column of a data set's row."""
    row = {
        "id": rollout_id,
        "environment": "desk",
        "input": {"case": rollout_id, "result_bytes": result_bytes},
        "target": {"eligibility": "approved"},
    }
    return json.dumps(row)


def rollout_request(rollout_id: str, result_bytes: int, endpoint: str) -> dict[str, Any]:
    """What the service sends to an agent."""
    return {
        "prompt": prompt(rollout_id, result_bytes),
        "metadata": {
            "jobArn": JOB_ARN,
            "rolloutId": rollout_id,
            "endpoint": endpoint,
            "region": REGION,
        },
        "inferenceParams": {"temperature": 1.0, "topP": 1.0, "maxTokens": 1024},
    }
