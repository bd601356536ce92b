"""The tools of the laboratory intake: look-ups in the case file beside this module. They only read."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

BLOCKING = False
"""Every call is a dictionary look-up."""


class LabIntakeManager:
    """`process_tool_call(name, input)` answers a dictionary, or raises ValueError with what to do."""

    def __init__(self) -> None:
        path = Path(__file__).with_name("test_set_with_outputs.csv")
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        self._accessions = {row["accession_number"]: row for row in rows}
        self._specimens = {row["specimen_id"]: row for row in rows}
        self._tests = {row["test_code"]: row for row in rows}
        self._tools: dict[str, Callable[..., dict[str, Any]]] = {
            "lookup_accession": self.lookup_accession,
            "fetch_superseding_accession": self.fetch_superseding_accession,
            "measure_specimen": self.measure_specimen,
            "fetch_test_requirements": self.fetch_test_requirements,
            "find_recollection_site": self.find_recollection_site,
        }

    def process_tool_call(self, tool_name: str, tool_input: dict[str, Any]) -> dict[str, Any]:
        if tool_name not in self._tools:
            raise ValueError(f"There is no tool {tool_name}.")
        try:
            return self._tools[tool_name](**tool_input)
        except TypeError as error:
            raise ValueError(f"Wrong arguments for {tool_name}: {error}") from None

    def lookup_accession(self, accession_number: str) -> dict[str, Any]:
        row = _find(self._accessions, "accession_number", accession_number)
        if row["superseded"] == "yes":
            raise ValueError(
                f"Accession {accession_number} is superseded. "
                "Call fetch_superseding_accession with this accession_number."
            )
        return _accession(row)

    def fetch_superseding_accession(self, accession_number: str) -> dict[str, Any]:
        row = _find(self._accessions, "accession_number", accession_number)
        if row["superseded"] != "yes":
            raise ValueError(f"Accession {accession_number} is not superseded. Call lookup_accession.")
        return _accession(row)

    def measure_specimen(self, specimen_id: str) -> dict[str, Any]:
        row = _find(self._specimens, "specimen_id", specimen_id)
        return {
            "specimen_id": row["specimen_id"],
            "hemolysis_index": int(row["hemolysis_index"]),
            "transit_hours": int(row["transit_hours"]),
            "fill_percent": int(row["fill_percent"]),
            "next_step": "fetch_test_requirements",
        }

    def fetch_test_requirements(self, test_code: str) -> dict[str, Any]:
        row = _find(self._tests, "test_code", test_code)
        return {
            "test_code": row["test_code"],
            "bench_code": row["bench_code"],
            "max_hemolysis_index": int(row["max_hemolysis_index"]),
            "max_transit_hours": int(row["max_transit_hours"]),
            "stability_margin_hours": int(row["stability_margin_hours"]),
            "min_fill_percent": int(row["min_fill_percent"]),
            "next_step": "decide_disposition",
        }

    def find_recollection_site(self, specimen_id: str) -> dict[str, Any]:
        # It answers for every specimen: a refusal would give away what the policy has to judge.
        row = _find(self._specimens, "specimen_id", specimen_id)
        return {"specimen_id": row["specimen_id"], "site_code": row["site_code"]}


def _find(index: dict[str, dict[str, str]], name: str, key: str) -> dict[str, str]:
    if not isinstance(key, str) or key not in index:
        raise ValueError(f"There is no {name} {key}.")
    return index[key]


def _accession(row: dict[str, str]) -> dict[str, Any]:
    return {
        "specimen_id": row["specimen_id"],
        "specimen_type": row["specimen_type"],
        "test_code": row["test_code"],
        "next_step": "measure_specimen",
    }
