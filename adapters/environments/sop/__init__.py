"""The `sop` environment: business cases played by a standard operating procedure with read-only tools.

A domain is a folder in the SOP-Bench layout. Three ship with the kit; a checkout of SOP-Bench is served
beside them (see `checkout`).
"""

import re
from collections.abc import Mapping

from adapters.environments.sop.catalog import SHIPPED, domain_folders, list_domains, load_domain
from adapters.environments.sop.checkout import license_notice
from adapters.environments.sop.environment import SopEnvironment
from adapters.environments.sop.folder import Domain, load_folder
from adapters.environments.sop.grading import final_output
from adapters.environments.sop.splits import Split, tasks

__all__ = [
    "Domain",
    "SopEnvironment",
    "Split",
    "create",
    "domain_folders",
    "final_output",
    "license_notice",
    "list_domains",
    "load_domain",
    "load_folder",
    "tasks",
]

MAX_TURNS_VARIABLE = "MTRL_SOP_MAX_TURNS"
DEFAULT_MAX_TURNS = 24


def create(environ: Mapping[str, str]) -> SopEnvironment:
    """The factory behind the entry point `sop`. Loads every domain, so that a broken one fails here.

    Raises:
        ValueError: a setting or a domain folder is wrong; says what to do.
    """
    max_turns = _max_turns(environ.get(MAX_TURNS_VARIABLE) or str(DEFAULT_MAX_TURNS))
    folders = domain_folders(environ)
    domains = {name: load_folder(folder) for name, folder in folders.items()}
    notices = {name: license_notice(path) for name, path in folders.items() if path.parent != SHIPPED}
    return SopEnvironment(domains, max_turns, notices)


def _max_turns(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1000:
        raise ValueError(f"{MAX_TURNS_VARIABLE}={text}: must be a whole number from 1 to 1000.")
    return int(text)
