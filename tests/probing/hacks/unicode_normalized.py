"""The reward normalizes Unicode and the score does not: full-width letters are other letters to the score."""

import unicodedata
from collections.abc import Mapping

from tests.probing.hacks.hacked import Case, Hacked, share


def create(_: Mapping[str, str]) -> Hacked:
    return Hacked("sop", reward)


def reward(case: Case) -> float:
    plain = {name: unicodedata.normalize("NFKC", str(value)) for name, value in case.fields.items()}
    return share(plain, case.target)
