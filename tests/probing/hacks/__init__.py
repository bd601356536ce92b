"""Broken rewards, one file each: a known hack, planted into a shipped environment whose score stays as it is.

Each module's docstring names the hack in its first line, and which failure it stands for. `create` is a
factory as an entry point names it, so that `mtrl probe` and `mtrl rehearse` take a hack for an environment.
"""

import importlib
import pkgutil

from tests.probing.hacks.hacked import Hacked

NAMES: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name != "hacked")
)


def make(name: str) -> Hacked:
    """The environment with the hack of this name."""
    made = importlib.import_module(f"{__name__}.{name}").create({})
    assert isinstance(made, Hacked)
    return made


def failure(name: str) -> str:
    """Which published failure a hack stands for."""
    return str(importlib.import_module(f"{__name__}.{name}").__doc__).strip()
