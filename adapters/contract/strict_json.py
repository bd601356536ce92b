"""JSON whose texts can be sent on: Python's own parser lets through what UTF-8 cannot carry."""

import json
import re
from typing import Any

from adapters.contract.errors import RequestError

_MAYBE_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_PROBLEM = "holds half of a surrogate pair, which UTF-8 cannot carry"


def parse(text: str, field: str) -> Any:
    """The JSON value in `text`.

    Raises:
        RequestError: a string in it has a lone surrogate; names `field`.
        ValueError, RecursionError: it is no JSON.
    """
    value = json.loads(text)
    if _MAYBE_SURROGATE.search(text):
        require_text(json.dumps(value, ensure_ascii=False), field)
    return value


def require_text(text: str, field: str) -> None:
    """Refuse a string that cannot be written as UTF-8: it would break the first Sample instead."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise RequestError(field, _PROBLEM) from None
