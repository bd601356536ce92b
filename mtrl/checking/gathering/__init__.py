"""Plays an environment, and takes down what rules need."""

from mtrl.checking.evidence import Effort, Evidence
from mtrl.checking.gathering.calls import make_mistakes
from mtrl.checking.gathering.openings import open_some
from mtrl.checking.gathering.repeats import interleave, repeat
from mtrl.checking.gathering.rollouts import demonstrate, sample_baselines, vary
from mtrl.checking.subject import Subject
from mtrl.datasets.checks import Rules

__all__ = ["gather"]


async def gather(subject: Subject, effort: Effort | None = None, rules: Rules | None = None) -> Evidence:
    """Play all that is needed. What the environment breaks is evidence, and no exception here."""
    evidence = Evidence(subject, effort or Effort(), rules or Rules())
    await open_some(evidence)
    await make_mistakes(evidence)
    await demonstrate(evidence)
    await sample_baselines(evidence)
    await vary(evidence)
    await repeat(evidence)
    await interleave(evidence)
    return evidence
