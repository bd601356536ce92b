"""The findings that somebody accepted in writing, as a table: it is part of docs/security.md.

Read from the validation reports of the assemblies, so that the table says what the packs were told.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

BEGIN, END = "<!-- acknowledged: begin -->", "<!-- acknowledged: end -->"
ACCOUNTS = re.compile(r"\b[0-9]{12}\b")
DEPLOYMENT = re.compile(r"mtrl([-_])(dev|prod)([-_])sop")
DIGEST = re.compile(r"-[0-9a-f]{8}(?=[/\]])")

Rows = dict[str, set[str]]
"""Reason -> the rules it answers, each as `Pack-Rule` with a wildcard's own text in brackets."""


def collect(folders: Iterable[Path]) -> Rows:
    """The reasons of all assemblies; what differs by environment alone is one."""
    rows: Rows = defaultdict(set)
    for folder in folders:
        for report in json.loads((folder / "validation-report.json").read_text())["pluginReports"]:
            for each in report.get("suppressedViolations", ()):
                if each.get("reason"):
                    rows[each["reason"]].add(_general(each["ruleName"]))
    return rows


def _general(rule: str) -> str:
    rule = ACCOUNTS.sub("ACCOUNT", DEPLOYMENT.sub(r"mtrl\1ENV\3sop", rule))
    return DIGEST.sub("-DIGEST", rule)


def table(rows: Rows) -> str:
    """Markdown: one reason a line, with every rule that it answers."""
    lines = ["| reason | findings it answers |", "|---|---|"]
    for reason, rules in sorted(rows.items()):
        cell = ", ".join(f"`{rule}`" for rule in sorted(rules))
        lines.append(f"| {reason} | {cell} |")
    return "\n".join(lines)


def inserted(text: str, rows: Rows) -> str:
    """A document with the table between its marks."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.split(END)[1]}"
