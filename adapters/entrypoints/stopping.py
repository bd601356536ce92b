"""How a process stops: a first signal drains it, a second ends it at once, and nothing holds it for ever."""

import asyncio
import os
import signal
import threading
from collections.abc import Mapping
from typing import Any

from adapters.entrypoints.process import Process

SEAL_SECONDS = 15.0
"""Kept back from the drain grace (at most half of it) to grade, seal and reward what was not waited for."""


def stop_on_signals(process: Process) -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets; the same signal again exits and says what is uncertain."""
    stop = asyncio.Event()

    def stop_or_exit() -> None:
        if stop.is_set():
            process.telemetry.log("ERROR", "killed", uncertain_rollouts=process.rollouts.running)
            os._exit(1)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop_or_exit)
    return stop


def exit_in_any_case(seconds: float) -> None:
    """A tool that hangs in a thread of its own would otherwise keep a drained process alive."""
    timer = threading.Timer(seconds, os._exit, [1])
    timer.daemon = True
    timer.start()


async def drain(
    process: Process, tasks: Mapping[Any, "asyncio.Task[Any]"], *, hand_over: bool = False
) -> None:
    """Let running rollouts end: by themselves first, then with what they have.

    `tasks` are those in progress, and lose the ones that end. With `hand_over`, rollouts that another worker
    can go on with are left after their Sample in flight; only a Sample that outlasts the grace is cut.
    """
    grace = process.settings.drain
    sealing = min(SEAL_SECONDS, grace / 2)
    process.telemetry.log("INFO", "draining", rollouts=len(tasks))
    if hand_over:
        process.rollouts.hand_over()
    if tasks:
        await asyncio.wait(set(tasks.values()), timeout=grace - sealing)
    cut = process.rollouts.drain()
    if cut:
        process.telemetry.log("WARNING", "drained", rollout_ids=cut)
    if tasks:
        await asyncio.wait(set(tasks.values()), timeout=sealing)
    process.telemetry.log("INFO", "stopped", unfinished=len(tasks))
