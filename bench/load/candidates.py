"""What is measured: how each adapter is started, and where it is asked to play."""

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.load import world

ROOT = Path(__file__).parents[2]
REQUIREMENTS = Path(__file__).parent / "requirements"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One adapter. Its process is told PORT and BENCH_ENDPOINT; it serves /ping and /invocations."""

    adapter: str
    module: str
    venv: str | None = None
    """A virtual environment of its own under the repository's root; None for the project's."""
    entrypoint: str = "http"
    environ: Mapping[str, str] = field(default_factory=dict)

    @property
    def python(self) -> Path:
        return Path(sys.executable) if self.venv is None else ROOT / self.venv / "bin/python"

    @property
    def missing(self) -> str | None:
        """Why it cannot be run here, or None."""
        if self.python.is_file() and (self.venv is None or (ROOT / self.venv / ".ready").is_file()):
            return None
        return f"{self.venv} is not installed (make {self.venv}/.ready)"

    def command(self) -> list[str]:
        return [str(self.python), "-m", self.module]


OURS = Candidate("mtrl-kit", "adapters.entrypoints.http")
FLOOR = Candidate("bare-aiohttp", "bench.load.peers.bare_aiohttp")
PEERS = (
    Candidate("strands", "bench.load.peers.sdk_strands", ".venv-bench-sdk"),
    Candidate("fastapi-openai", "bench.load.peers.sdk_fastapi", ".venv-bench-sdk"),
    Candidate("agentcore-rl-toolkit", "bench.load.peers.agentcore_toolkit", ".venv-bench-agentcore"),
)


def environ(candidate: Candidate, port: int, endpoint: str, plugins: str, places: int) -> dict[str, str]:
    """The variables of an adapter's process, with credentials that mean nothing."""
    kept = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "MTRL_", "PYTHON"))}
    return {
        **kept,
        "AWS_ACCESS_KEY_ID": "bench",
        "AWS_SECRET_ACCESS_KEY": "bench",
        "AWS_REGION": world.REGION,
        "AWS_DEFAULT_REGION": world.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_ENDPOINT_URL_S3": endpoint,
        "PYTHONPATH": f"{ROOT}{os.pathsep}{plugins}",
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "BENCH_ENDPOINT": endpoint,
        "MTRL_ENVIRONMENT": "desk",
        "MTRL_JOB_RUNTIME_ENDPOINT": endpoint,
        "MTRL_ACCOUNT_ID": world.JOB_ARN.split(":")[4],
        "MTRL_MAX_CONCURRENCY": str(places),
        "MTRL_TOOL_RESULT_CHARS": "10000000",
        "OTEL_SDK_DISABLED": "true",
        **candidate.environ,
    }


def versions(candidate: Candidate, packages: tuple[str, ...]) -> dict[str, str]:
    """What is installed beside a candidate."""
    import subprocess

    code = (
        "import importlib.metadata as m, json, sys\n"
        "print(json.dumps({d.name: d.version for d in m.distributions() if d.name in sys.argv[1:]}))"
    )
    said = subprocess.run(  # noqa: S603
        [str(candidate.python), "-c", code, *packages], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(said.stdout)
    return found
