"""Specimens at the intake of a clinical laboratory. The rules are those of `domains/lab_intake/sop.txt`."""

import random
from dataclasses import dataclass

from adapters.environments.sop.generator.common import Row, dice, identifiers, pick

SEED = 20250303
COUNT = 280


@dataclass(frozen=True, slots=True)
class LabTest:
    """What a test demands of its specimens."""

    code: str
    bench: str
    specimen: str
    max_hemolysis: int
    max_hours: int
    stability_margin_hours: int
    min_fill: int


TESTS = (
    LabTest("K-POT", "BENCH-CHEM-1", "serum", 50, 6, 2, 60),
    LabTest("LDH", "BENCH-CHEM-2", "serum", 30, 8, 4, 60),
    LabTest("PT-INR", "BENCH-COAG", "citrate plasma", 120, 24, 0, 90),
    LabTest("CBC", "BENCH-HEMA", "EDTA blood", 300, 24, 12, 50),
    LabTest("TROP", "BENCH-CARD", "heparin plasma", 80, 4, 1, 60),
    LabTest("CSF-CELL", "BENCH-MICR", "cerebrospinal fluid", 200, 2, 1, 25),
    LabTest("AFP-AMN", "BENCH-GENE", "amniotic fluid", 150, 24, 6, 30),
    LabTest("GLU-F", "BENCH-CHEM-3", "fluoride plasma", 100, 48, 24, 50),
)
IRREPLACEABLE = ("cerebrospinal fluid", "amniotic fluid")
SITES = ("SITE-NORTH", "SITE-SOUTH", "SITE-EAST", "SITE-WEST", "SITE-CENTRAL", "SITE-MOBILE")
FLAWS = {"none": 40, "late_in_margin": 12, "late": 14, "hemolysis": 14, "fill": 12, "two": 8}


def rows() -> list[Row]:
    """The rows of the CSV: inputs, what only the tools know, and the right outputs."""
    chance = dice(SEED)
    accessions = identifiers(chance, "AC-", 7, COUNT)
    specimens = identifiers(chance, "SP-", 8, COUNT)
    return [_row(chance, *ids) for ids in zip(accessions, specimens, strict=True)]


def _row(chance: random.Random, accession: str, specimen: str) -> Row:
    test = chance.choice(TESTS)
    hemolysis, hours, fill = _measurements(chance, test, pick(chance, FLAWS))
    site = chance.choice(SITES)
    decision = disposition(test, hemolysis, hours, fill)
    return {
        "accession_number": accession,
        "ward": chance.choice(("emergency", "surgery", "oncology", "outpatient", "paediatrics")),
        "priority": chance.choice(("routine", "urgent", "stat")),
        "courier_remark": chance.choice(
            ("no remark", "delayed on the road", "box was warm", "lid was loose")
        ),
        "label_route": chance.choice(TESTS).bench,
        "superseded": pick(chance, {"no": 3, "yes": 1}),
        "specimen_id": specimen,
        "specimen_type": test.specimen,
        "test_code": test.code,
        "hemolysis_index": str(hemolysis),
        "transit_hours": str(hours),
        "fill_percent": str(fill),
        "bench_code": test.bench,
        "max_hemolysis_index": str(test.max_hemolysis),
        "max_transit_hours": str(test.max_hours),
        "stability_margin_hours": str(test.stability_margin_hours),
        "min_fill_percent": str(test.min_fill),
        "site_code": site,
        "disposition": decision,
        "route_to": site if decision == "reject" else test.bench,
    }


def _measurements(chance: random.Random, test: LabTest, flaw: str) -> tuple[int, int, int]:
    """Hemolysis index, transit hours and fill percent of a specimen with this flaw."""
    hemolysis = chance.randrange(0, test.max_hemolysis + 1)
    hours = chance.randrange(1, test.max_hours + 1)
    fill = chance.randrange(test.min_fill, 101)
    if flaw == "late_in_margin":
        hours = test.max_hours + max(1, chance.randrange(0, test.stability_margin_hours + 1))
    if flaw in ("late", "two"):
        hours = test.max_hours + test.stability_margin_hours + chance.randrange(1, 9)
    if flaw in ("hemolysis", "two"):
        hemolysis = test.max_hemolysis + chance.randrange(1, 120)
    if flaw == "fill":
        fill = chance.randrange(test.min_fill // 3, test.min_fill)
    return hemolysis, hours, fill


def disposition(test: LabTest, hemolysis: int, hours: int, fill: int) -> str:
    """Section 6 of the procedure."""
    late = hours > test.max_hours
    other = hemolysis > test.max_hemolysis or fill < test.min_fill
    if not late and not other:
        return "accept"
    if test.specimen in IRREPLACEABLE:
        return "accept_with_comment"
    if not other and hours <= test.max_hours + test.stability_margin_hours:
        return "accept_with_comment"
    return "reject"
