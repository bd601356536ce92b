"""Writes the case files of the shipped domains.

Seeded, and without clock or network: the same code writes the same bytes.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from adapters.environments.sop.generator import lab_intake, loan_hardship, returns_desk
from adapters.environments.sop.generator.common import Row, render

DOMAINS: Mapping[str, Callable[[], list[Row]]] = {
    "returns_desk": returns_desk.rows,
    "loan_hardship": loan_hardship.rows,
    "lab_intake": lab_intake.rows,
}
FOLDER = Path(__file__).parent.parent / "domains"
CASES_FILE = "test_set_with_outputs.csv"


def write_all(folder: Path = FOLDER) -> list[Path]:
    """Rewrite the CSV of every domain under `folder`; returns the files."""
    written = []
    for name, rows in DOMAINS.items():
        path = folder / name / CASES_FILE
        path.write_text(render(rows()), encoding="utf-8", newline="")
        written.append(path)
    return written
