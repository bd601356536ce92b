"""The `sql` environment: a question in words, answered by a query that is run and compared.

Two domains hold the same questions: `guided` has tools that draft SQL from enumerated parts, so that a small
policy can learn it; `open` has the reading tools alone, and the policy writes the SQL.
"""

import re
from collections.abc import Mapping

from adapters.environments.sql.answers import SHAPING_BOUND
from adapters.environments.sql.environment import SqlEnvironment

__all__ = ["SHAPING_BOUND", "SqlEnvironment", "create"]

MAX_TURNS_VARIABLE = "MTRL_SQL_MAX_TURNS"
DEFAULT_MAX_TURNS = 12


def create(environ: Mapping[str, str]) -> SqlEnvironment:
    """The factory behind the entry point `sql`.

    Raises:
        ValueError: a setting is wrong; says what to do.
    """
    text = environ.get(MAX_TURNS_VARIABLE) or str(DEFAULT_MAX_TURNS)
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= 1000:
        raise ValueError(f"{MAX_TURNS_VARIABLE}={text}: must be a whole number from 1 to 1000.")
    return SqlEnvironment(int(text))
