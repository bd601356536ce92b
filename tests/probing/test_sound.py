"""No false alarm: the shipped rewards are sound, and the probe says so."""

import pytest

from adapters.runtime.plugins import load_environment
from tests.probing.kit import small_probe

DOMAINS = [
    ("sop", "returns_desk"),
    ("sop", "loan_hardship"),
    ("sop", "lab_intake"),
    ("service_desk", "refunds"),
    ("sql", "guided"),
    ("sql", "open"),
]


@pytest.mark.parametrize(("name", "domain"), DOMAINS)
def test_nothing_is_found_in_a_sound_reward(name: str, domain: str) -> None:
    found = small_probe(load_environment(name, {}), domain, plays=160)
    assert [exploit.kind for exploit in found.exploits] == []
    assert found.transcripts >= 160
    assert found.faults == {}
