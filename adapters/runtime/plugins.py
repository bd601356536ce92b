"""Environments and loops by name, from Python entry points."""

import difflib
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, cast

from adapters.contract import AgentLoop, Environment

ENVIRONMENTS = "mtrl.environments"
LOOPS = "mtrl.loops"


class PluginError(ValueError):
    """A plug-in is unknown, cannot be imported, or refuses its settings."""


def load_environment(name: str, environ: Mapping[str, str]) -> Environment:
    """Make the environment `name` from its factory.

    Raises:
        PluginError: names the id, what was tried, and what is installed.
    """
    return cast(Environment, _make(ENVIRONMENTS, name, lambda factory: factory(environ)))


def load_loop(name: str) -> AgentLoop:
    """Make the agent loop `name`. Raises PluginError as above."""
    return cast(AgentLoop, _make(LOOPS, name, lambda factory: factory()))


def _make(group: str, name: str, build: Callable[[Any], object]) -> object:
    entry = _find(group, name)
    try:
        return build(entry.load())
    except (ImportError, AttributeError) as error:
        raise PluginError(f"Cannot load {name!r} ({entry.value}): {error}") from error
    except (ValueError, OSError) as error:
        raise PluginError(f"{name}: {error}") from error


def _find(group: str, name: str) -> EntryPoint:
    installed = {entry.name: entry for entry in entry_points(group=group)}
    if name in installed:
        return installed[name]
    near = difflib.get_close_matches(name, installed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    kind, names = group.split(".")[1][:-1], ", ".join(sorted(installed)) or "none"
    raise PluginError(f"Unknown {kind} {name!r}.{hint} Installed: {names}.")
