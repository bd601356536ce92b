"""Assembles the stand-in: one loopback process, one port, both APIs.

POST /                       SageMaker control plane, AWS JSON 1.1
POST /sample …               Job Runtime, REST-JSON, and /v1/chat/completions
GET  /_rehearsal/counts      what happened to the trajectories, by job ARN (also every breach)
"""

import errno
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import orjson
from aiohttp import web

from rehearsal.service.agents import Agents
from rehearsal.service.models import Models
from rehearsal.service.options import ServiceOptions
from rehearsal.service.runner import Runner
from rehearsal.service.state.jobs import Jobs
from rehearsal.service.state.store import Store
from rehearsal.service.state.trajectories import Trajectories
from rehearsal.service.wire.control_plane import ControlPlane
from rehearsal.service.wire.job_runtime import JobRuntimeWire

LOOPBACK = "127.0.0.1"
MAX_BODY_BYTES = 64 * 1024 * 1024
# Above any client's: a connection closed for idleness must never look like an uncertain Sample.
KEEPALIVE_SECONDS = 120.0

SHUTDOWN_SECONDS = 5.0
"""For requests in flight when the stand-in is told to end."""


@asynccontextmanager
async def running(options: ServiceOptions) -> AsyncIterator[str]:
    """Serve until the context is left; gives the URL.

    Raises:
        StoreError, PolicyError: the state directory or the policy cannot be used.
        OSError: the port is taken.
    """
    with closing(_listen(options.port)) as listener, Store(options.state_dir) as store:
        jobs = Jobs(store, region=options.region, account=options.account)
        trajectories = Trajectories()
        agents = Agents(agents=options.agents, forwarder=options.forwarder, function=options.function)
        runner = Runner(options, jobs, trajectories, Models(store, options.policy), agents)
        web_runner = web.AppRunner(
            _app(options, jobs, trajectories),
            access_log=None,
            keepalive_timeout=KEEPALIVE_SECONDS,
            shutdown_timeout=SHUTDOWN_SECONDS,
            handle_signals=False,
        )
        await web_runner.setup()
        await web.SockSite(web_runner, listener, backlog=1024).start()
        runner.endpoint = f"http://{LOOPBACK}:{listener.getsockname()[1]}"
        try:
            runner.resume()
            yield runner.endpoint
        finally:
            await runner.close()
            await web_runner.cleanup()


def _app(options: ServiceOptions, jobs: Jobs, trajectories: Trajectories) -> web.Application:
    async def counts(_: web.Request) -> web.Response:
        body = {arn: dict(counter) for arn, counter in trajectories.counts.items()}
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_post("/", ControlPlane(jobs).handle)
    app.router.add_get("/_rehearsal/counts", counts)
    app.add_routes(JobRuntimeWire(trajectories, options.faults, options.region).routes())
    return app


def _listen(port: int) -> socket.socket:
    """A bound socket before anything else is opened, so that a taken port costs nothing."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OverflowError:
        listener.close()
        raise OSError(errno.EINVAL, "a port is a number from 0 to 65535") from None
    except OSError:
        listener.close()
        raise
    return listener
