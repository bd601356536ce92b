"""`mtrl service`: the local stand-in of the AgentRFT service, alone."""

import asyncio
import gc
import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from adapters.runtime.settings import REGION as REGION_FORM
from mtrl.console import emit, fail, progress
from mtrl.policies import ACCEPTED, choose
from rehearsal.policies.base import PolicyError
from rehearsal.service.app import running
from rehearsal.service.faults import FaultError, Faults
from rehearsal.service.lambda_api import LambdaTarget
from rehearsal.service.options import ACCOUNT, REGION, ServiceOptions
from rehearsal.service.state.store import StoreError

FAIL_ON = ("no-sample", "failed", "failed-unsampled", "lost")
_LAMBDA = re.compile(r"lambda(?::(?P<function>[\w.$:-]+))?(?:@(?P<endpoint>https?://[^/\s]+/?))?", re.ASCII)


def service(
    port: Annotated[int, typer.Option(help="Loopback port; 0 picks a free one.")] = 8800,
    state: Annotated[Path, typer.Option(help="Folder for jobs and model packages.")] = Path("out/service"),
    agent: Annotated[
        list[str] | None,
        typer.Option(
            help="URL of the agent, or ARN=URL for one agent runtime; lambda[:FUNCTION][@URL] for a deployed "
            "forwarder. Repeatable."
        ),
    ] = None,
    forwarder: Annotated[
        Path | None, typer.Option(help="A Lambda handler file that stands for any Lambda ARN.")
    ] = None,
    policy: Annotated[str, typer.Option(help=f"{ACCEPTED}.")] = "tiny",
    seed: Annotated[int, typer.Option(help="Decides every draw of the policy.")] = 0,
    seed_by: Annotated[
        str,
        typer.Option(help="A rollout's draws follow its row in the data set, or its prompt: row, prompt."),
    ] = "row",
    max_concurrency: Annotated[
        int | None, typer.Option(min=1, max=96, help="Rollouts at a time, below a job's own limit.")
    ] = None,
    region: Annotated[str, typer.Option(help="The Region it pretends to be in.")] = REGION,
    account: Annotated[str, typer.Option(help="The account it pretends to be of.")] = ACCOUNT,
    fault: Annotated[
        list[str] | None,
        typer.Option(help="KIND=RATE or OPERATION:KIND=RATE; kinds: 429 5xx reset lost slow expire."),
    ] = None,
    retry_ids: Annotated[str, typer.Option(help="Retried rollouts: renew or reuse their ids.")] = "renew",
    fail_on: Annotated[
        list[str] | None, typer.Option(help=f"What fails a job: {', '.join(FAIL_ON)}, or none.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON line on stdout when ready.")] = False,
) -> None:
    """Serve the SageMaker jobs API and the Job Runtime on this machine, until Ctrl-C."""
    if retry_ids not in ("renew", "reuse"):
        fail(f"--retry-ids {retry_ids!r} is neither renew nor reuse.")
    if seed_by not in ("row", "prompt"):
        fail(f"--seed-by {seed_by!r} is neither row nor prompt.")
    if not REGION_FORM.fullmatch(region):
        fail(f"--region {region!r} is no Region. Example: --region {REGION}")
    if not re.fullmatch("[0-9]{12}", account):
        fail(f"--account {account!r} is no account id (12 digits). Example: --account {ACCOUNT}")
    if forwarder is not None and not forwarder.is_file():
        fail(f"--forwarder {forwarder} is no file. Give the path of a handler.py.")
    urls, function = read_agents(agent or ())
    if forwarder is not None and function is not None:
        fail("--forwarder and --agent lambda both stand for any Lambda ARN: give one of them.")
    options = ServiceOptions(
        state_dir=state,
        port=port,
        region=region,
        account=account,
        seed=seed,
        seed_by="prompt" if seed_by == "prompt" else "row",
        max_concurrency=max_concurrency,
        policy=_policy(policy),
        agents=urls,
        forwarder=forwarder,
        function=function,
        faults=read_faults(fault or (), seed),
        retry_ids="reuse" if retry_ids == "reuse" else "renew",
        fail_on=_fail_on(fail_on),
    )
    # A batch keeps a hundred thousand small objects until its update; the default walks them all the time.
    gc.set_threshold(100_000, 50, 100)
    try:
        asyncio.run(_serve(options, as_json))
    except (StoreError, PolicyError) as error:
        fail(str(error))
    except OSError as error:
        fail(
            f"Port {port} cannot be used: {error.strerror}. Choose another with --port, or 0 for a free one."
        )


def _policy(label: str) -> str:
    """The policy as the stand-in takes it."""
    try:
        return choose("--policy", label).spec
    except PolicyError as error:
        fail(str(error))


async def _serve(options: ServiceOptions, as_json: bool) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with running(options) as endpoint:
        if as_json:
            emit({"endpoint": endpoint, "pid": os.getpid()})
        else:
            progress.print(f"AgentRFT stand-in on [bold]{endpoint}[/]  (Ctrl-C ends it)\n")
            progress.print(f"  export AWS_ENDPOINT_URL_SAGEMAKER={endpoint}", highlight=False)
            progress.print(f"  export AWS_ENDPOINT_URL_SAGEMAKERJOBRUNTIME={endpoint}", highlight=False)
        await stop.wait()


def read_agents(specs: Iterable[str]) -> tuple[dict[str, str], LambdaTarget | None]:
    """The `--agent` options: URLs by ARN (`*` stands for any), and the deployed forwarder."""
    urls: dict[str, str] = {}
    function: LambdaTarget | None = None
    for spec in specs:
        if not re.match(r"lambda\b", spec):
            arn, url = _read_url(spec)
            urls[arn] = url
        elif function is None:
            function = _read_lambda(spec)
        else:
            fail(f"--agent {spec!r}: one function stands for any Lambda ARN; another was given before.")
    return urls, function


def _read_url(spec: str) -> tuple[str, str]:
    arn, separator, url = spec.partition("=") if spec.startswith("arn:") else ("*", "=", spec)
    if ":lambda:" in arn:
        fail(f"--agent {spec!r}: a function is given as lambda:{arn}@URL, with the URL of the Lambda API.")
    if not separator or not url.startswith(("http://", "https://")):
        fail(f"--agent {spec!r} is neither a URL nor ARN=URL. Example: --agent http://127.0.0.1:8080")
    return arn, url.rstrip("/")


def _read_lambda(spec: str) -> LambdaTarget:
    match = _LAMBDA.fullmatch(spec)
    if match is None:
        example = "lambda:forwarder@http://127.0.0.1:4566"
        fail(f"--agent {spec!r} is not lambda[:FUNCTION][@URL]. Example: --agent {example}")
    return LambdaTarget(function=match["function"] or "", endpoint=(match["endpoint"] or "").rstrip("/"))


def read_faults(specs: Iterable[str], seed: int) -> Faults:
    """`--fault` options as fault rates."""
    faults = Faults(seed=seed)
    for spec in specs:
        try:
            faults.add(spec)
        except FaultError as error:
            fail(f"--fault: {error}")
    return faults


def _fail_on(names: list[str] | None) -> frozenset[str]:
    if names is None:
        return frozenset({"no-sample"})
    for name in names:
        if name not in (*FAIL_ON, "none"):
            fail(f"--fail-on {name!r} is unknown. Accepted: {', '.join(FAIL_ON)}, none.")
    if "none" in names and len(set(names)) > 1:
        fail("--fail-on none goes with no other: leave it out, or the others.")
    return frozenset(names) - {"none"}
