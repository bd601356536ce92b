"""The report of a rehearsal: one HTML file that needs nothing else."""

from mtrl.report.model import Evaluation, RunData
from mtrl.report.render import render

__all__ = ["Evaluation", "RunData", "render"]
