"""Preflight: what must hold of an environment before a job is paid for (docs/checks.md).

`gathering` plays the environment and takes down what happened; `rules` judges that, one rule a file.
"""

from mtrl.checking.evidence import Effort, Evidence
from mtrl.checking.gathering import gather
from mtrl.checking.inventory import RULES, judge
from mtrl.checking.subject import Subject, SubjectError, make_subject

__all__ = [
    "RULES",
    "Effort",
    "Evidence",
    "Subject",
    "SubjectError",
    "gather",
    "judge",
    "make_subject",
]
