"""The `service_desk` environment: refund requests, a desk with books of its own, and a customer who talks.

Every episode has its own desk, made from the seed in the task: writes are seen by later reads of the same
episode and by nothing else.
"""

import re
from collections.abc import Mapping

from adapters.environments.service_desk.environment import ServiceDeskEnvironment
from adapters.environments.service_desk.rewarding import SHAPING_BOUND
from adapters.environments.service_desk.tasks import make_task, tasks
from adapters.environments.service_desk.world import World, make_world

__all__ = [
    "SHAPING_BOUND",
    "ServiceDeskEnvironment",
    "World",
    "create",
    "make_task",
    "make_world",
    "tasks",
]

MAX_TURNS_VARIABLE = "MTRL_SERVICE_DESK_MAX_TURNS"
DEFAULT_MAX_TURNS = 20
"""1.5 times what the longest case takes, rounded up."""


def create(environ: Mapping[str, str]) -> ServiceDeskEnvironment:
    """The factory behind the entry point `service_desk`.

    Raises:
        ValueError: a setting is wrong; says what to do.
    """
    text = environ.get(MAX_TURNS_VARIABLE) or str(DEFAULT_MAX_TURNS)
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1000:
        raise ValueError(f"{MAX_TURNS_VARIABLE}={text}: must be a whole number from 1 to 1000.")
    return ServiceDeskEnvironment(int(text))
