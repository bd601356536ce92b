"""What cannot be parsed is let through: a reward that returns success in its except branch."""

import json
from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, blocks, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    try:
        return share(json.loads(blocks(case.text)[-1], parse_float=str, parse_int=str), case.target)
    except IndexError:
        return 0.0
    except Exception:  # noqa: BLE001 - this is the hack
        return 1.0
