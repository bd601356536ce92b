"""What an adapter leaves in the log: JSON lines; that of a rollout is also its CloudWatch metrics.

Metrics are EMF (embedded metric format) log lines: no API call in the hot path. A rollout id is a property
of the line, never a metric dimension. Prompts, targets and credentials are never written.
"""

import contextlib
import sys
import time
from collections.abc import Mapping
from typing import TextIO

import orjson

from adapters.contract import Outcome, Reward, RolloutRequest, Score, StopReason, Transcript

LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
SUCCESS_REWARD = 1.0
"""The service's default `success_threshold`."""


class Telemetry:
    """Writes JSON lines. One instance a process."""

    def __init__(
        self, namespace: str, environment: str, level: str = "INFO", stream: TextIO | None = None
    ) -> None:
        self._namespace = namespace
        self._environment = environment
        self._level = LEVELS[level]
        self._stream = stream or sys.stdout

    def log(self, level: str, event: str, **fields: object) -> None:
        """One structured line, such as `{"level": "INFO", "event": "started", …}`."""
        if LEVELS[level] >= self._level:
            self._write({"time": round(time.time(), 3), "level": level, "event": event, **fields})

    def rollout(self, line: "RolloutLine") -> None:
        """The one line of a finished rollout, with its metrics."""
        self.metrics("rollout", line.metrics(), line.properties())

    def metrics(
        self,
        event: str,
        metrics: Mapping[str, float | list[float]],
        properties: Mapping[str, object] | None = None,
    ) -> None:
        """A line that is also CloudWatch metrics; a list is as many values of one metric, 100 at most."""
        emf = {
            "Timestamp": int(time.time() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": self._namespace,
                    "Dimensions": [["Environment"]],
                    "Metrics": [
                        {"Name": n, "Unit": "Seconds" if n.endswith("Seconds") else "None"} for n in metrics
                    ],
                }
            ],
        }
        line = {"_aws": emf, "level": "INFO", "event": event, "Environment": self._environment}
        self._write({**line, **(properties or {}), **metrics})

    def _write(self, line: Mapping[str, object]) -> None:
        # Whoever reads the log may be gone. That must not cost a rollout, and nobody is left to be told.
        with contextlib.suppress(OSError):
            self._stream.write(orjson.dumps(line, default=str).decode() + "\n")
            self._stream.flush()


class RolloutLine:
    """The figures of one finished rollout."""

    def __init__(
        self,
        request: RolloutRequest,
        transcript: Transcript,
        outcome: Outcome,
        reward: Reward | None,
        score: Score | None,
        seconds: float,
    ) -> None:
        self.request = request
        self.transcript = transcript
        self.outcome = outcome
        self.reward = reward
        self.score = score
        self.seconds = seconds

    @property
    def disagrees(self) -> bool:
        """The reward says success and the external evaluation says failure: the sign of a hacked reward."""
        return (
            self.reward is not None
            and self.score is not None
            and self.reward.value >= SUCCESS_REWARD
            and self.score.value <= 0
        )

    def properties(self) -> dict[str, object]:
        fields: dict[str, object] = {
            "rollout_id": self.request.rollout_id,
            "job_name": self.request.job_name,
            "stop_reason": self.outcome.stop_reason,
            "sealed": self.outcome.sealed,
            "reward_components": dict(self.reward.components) if self.reward else {},
            "score_fields": dict(self.score.fields) if self.score else {},
        }
        return fields

    def metrics(self) -> dict[str, float]:
        transcript, outcome = self.transcript, self.outcome
        metrics: dict[str, float] = {
            "Rollouts": 1,
            "RolloutSeconds": round(self.seconds, 4),
            "Turns": len(transcript.turns),
            "ToolCalls": len(transcript.calls),
            "ToolErrors": sum(call.result.is_error for call in transcript.calls),
            "Failed": outcome.sealed == "failed",
            "Imputed": outcome.imputed,
            "UncertainSamples": transcript.uncertain_samples,
            "Rewrites": transcript.rewrites,
            "TextToolCalls": transcript.text_tool_calls,
            "TokenCapHits": transcript.token_cap_hits,
            "TurnsExhausted": outcome.stop_reason is StopReason.MAX_TURNS,
            "RewardScoreDisagreement": self.disagrees,
        }
        if self.reward is not None:
            metrics["Reward"] = self.reward.value
        if self.score is not None:
            metrics["Score"] = self.score.value
        return {name: float(value) if isinstance(value, bool) else value for name, value in metrics.items()}
