"""How far a statement unfolds before it runs.

SQLite copies a WITH table into every place that names it. Ten tables that each name the one before twice
unfold a thousandfold, while the statement is prepared: no step is counted then and no interrupt is heard.
So the unfolding is bounded from the text.
"""

import math
import re
from collections import Counter

_TOKEN = re.compile(
    r"""--[^\n]*|/\*.*?(?:\*/|$)|\s+"""  # what SQLite skips
    r"""|(?P<token>'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[\w$]+|.)""",
    re.DOTALL,
)
_QUOTES = "'\"`[]"


def unfolding(sql: str) -> int:
    """An upper bound of how often a part of the statement is copied; 1 without WITH tables."""
    tokens = [found["token"].strip(_QUOTES).lower() for found in _TOKEN.finditer(sql) if found["token"]]
    # A definition is one use, so a table that is named once more counts twice: that leaves a margin.
    # A name before a dot is that of a column's table, which copies nothing.
    uses = Counter(token for token, after in zip(tokens, [*tokens[1:], ""], strict=True) if after != ".")
    return math.prod(max(1, uses[name]) for name in _defined(tokens))


def _defined(tokens: list[str]) -> list[str]:
    """The names of all `name [(columns)] AS [[NOT] MATERIALIZED] (`, one that is defined twice twice."""
    names = []
    for at, word in enumerate(tokens):
        following = [t for t in tokens[at + 1 : at + 4] if t not in ("not", "materialized")]
        if word == "as" and following[:1] == ["("]:
            names.append(tokens[_before_columns(tokens, at - 1)])
    return names


def _before_columns(tokens: list[str], at: int) -> int:
    """The index of the name, given that of the token before AS."""
    if tokens[at] == ")":
        while at > 0 and tokens[at] != "(":
            at -= 1
        at -= 1
    return max(at, 0)
