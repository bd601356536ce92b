"""A user's own SOP-Bench checkout, beside our domains.

The benchmark is not ours to pass on: nothing of it is in this project, and it is served only to somebody
who says that its licence was read and accepted.
"""

from collections.abc import Mapping
from pathlib import Path

PATH_VARIABLE = "MTRL_SOP_BENCH"
LICENSE_VARIABLE = "MTRL_SOP_BENCH_LICENSE"
ACCEPTED = "accepted"
DATA_FOLDER = Path("src/amazon_sop_bench/benchmarks/data")
_NOTICE_LINES = 4
_LICENSE = (
    "SOP-Bench is licensed CC BY-NC 4.0: attribution, and no commercial use.\n"
    "Some of its domain folders carry a further notice that forbids training models on the data: read the\n"
    "LICENSE.md of each folder that you use."
)


def checkout_folders(environ: Mapping[str, str]) -> dict[str, Path]:
    """The domain folders of the checkout by folder name; empty if `MTRL_SOP_BENCH` is not set.

    Raises:
        ValueError: there are no domains at that path, or the licence was not accepted.
    """
    root = environ.get(PATH_VARIABLE, "")
    if not root:
        return {}
    data = _data_folder(Path(root).expanduser())
    if environ.get(LICENSE_VARIABLE) != ACCEPTED:
        raise ValueError(
            f"{PATH_VARIABLE} is set, and the licence is not accepted.\n{_LICENSE}\n"
            f"To accept it, set {LICENSE_VARIABLE}={ACCEPTED}."
        )
    return {path.parent.name: path.parent for path in sorted(data.glob("*/metadata.json"))}


def license_notice(domain_folder: Path) -> str:
    """What to show before a domain of the checkout is used: the licence, and the folder's own notice."""
    path = domain_folder / "LICENSE.md"
    if not path.is_file():
        return f"{domain_folder.name}: {_LICENSE}"
    lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    shown = "\n".join(f"  {line}" for line in lines[:_NOTICE_LINES])
    return f"{domain_folder.name}: {_LICENSE}\nIts LICENSE.md begins:\n{shown}\nThe whole text: {path}"


def _data_folder(root: Path) -> Path:
    for folder in (root / DATA_FOLDER, root):
        if any(folder.glob("*/metadata.json")):
            return folder
    raise ValueError(
        f"{PATH_VARIABLE}={root}: found no domain there. Give the root of a SOP-Bench checkout (with "
        f"{DATA_FOLDER.as_posix()}), or a folder of domain folders."
    )
