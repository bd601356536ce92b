"""Writes small domain folders for tests."""

import json
from pathlib import Path
from typing import Any

TOOLS = """
class CounterManager:
    def process_tool_call(self, name, given):
        return {"name": name, **given}
"""
METADATA: dict[str, Any] = {"name": "tiny", "input_columns": ["key"], "output_columns": ["final status"]}
SCHEMA = {"type": "object", "properties": {"key": {"type": "string"}}, "required": ["key"]}


def spec(name: str, schema: Any) -> dict[str, Any]:
    return {"toolSpec": {"name": name, "description": "A tool.", "inputSchema": {"json": schema}}}


def write_domain(
    folder: Path,
    *,
    metadata: Any = METADATA,
    specs: Any = None,
    tools: str = TOOLS,
    rows: bytes = b"key,final status\na,Done\nb,Open\n",
) -> Path:
    """A domain folder that loads, but for what the arguments change."""
    folder.mkdir(parents=True, exist_ok=True)
    specs = [spec("look", SCHEMA)] if specs is None else specs
    (folder / "metadata.json").write_text(json.dumps(metadata))
    (folder / "toolspecs.json").write_text(json.dumps(specs))
    (folder / "sop.txt").write_text("1. Do it.\n")
    (folder / "tools.py").write_text(tools)
    (folder / "test_set_with_outputs.csv").write_bytes(rows)
    return folder
