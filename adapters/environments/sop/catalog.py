"""Which domains there are: those that ship with the kit, and those of a SOP-Bench checkout."""

import difflib
from collections.abc import Mapping
from pathlib import Path

from adapters.environments.sop.checkout import checkout_folders
from adapters.environments.sop.folder import Domain, load_folder

SHIPPED = Path(__file__).parent / "domains"


def domain_folders(environ: Mapping[str, str]) -> dict[str, Path]:
    """Every domain's folder by name, shipped ones first.

    Raises:
        ValueError: the checkout cannot be used, or has a domain with the name of a shipped one.
    """
    shipped = {path.parent.name: path.parent for path in sorted(SHIPPED.glob("*/metadata.json"))}
    checkout = checkout_folders(environ)
    both = sorted(shipped.keys() & checkout.keys())
    if both:
        raise ValueError(f"MTRL_SOP_BENCH has a domain {both[0]!r}, as the kit has. Rename that folder.")
    return {**shipped, **checkout}


def list_domains(environ: Mapping[str, str]) -> list[str]:
    """The names of the domains. Raises ValueError as `domain_folders` does."""
    return list(domain_folders(environ))


def load_domain(name: str, environ: Mapping[str, str]) -> Domain:
    """The domain `name`.

    Raises:
        ValueError: unknown, with the nearest known name; or its folder is wrong, with what to do.
    """
    folders = domain_folders(environ)
    if name not in folders:
        near = difflib.get_close_matches(name, folders, n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"unknown domain {name!r}.{hint} Known: {', '.join(folders)}.")
    return load_folder(folders[name])
