"""A planted hack with few tasks, so that a rehearsal of it is short."""

from collections.abc import Mapping, Sequence

from adapters.contract import Split, Task
from tests.probing.hacks import fence_without_tag
from tests.probing.hacks.hacked import Hacked

COUNTS: Mapping[Split, int] = {"train": 40, "validation": 4, "test": 6}


class _Few(Hacked):
    def tasks(self, domain: str, split: Split) -> Sequence[Task]:
        return super().tasks(domain, split)[: COUNTS[split]]


def create(_: Mapping[str, str]) -> Hacked:
    return _Few("sop", fence_without_tag.reward)
