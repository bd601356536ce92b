"""Third-party packages, unpacked for an instance or a code zip that has no pip of its own.

    python -m infra.packaging.vendor [--python 3.12] [--platform aarch64] [--out DIR]

Needs the network, so it runs before synthesis (`make vendor`); what is there already is not made again. What
differs between two runs is taken out. A stamp says which requirements the folder was made from, and
`vendored` refuses a folder that is stale.
"""

import argparse
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from infra.packaging.errors import PackagingError

PYTHON = "3.12"
"""The CPython of every target: image, instance and AgentCore runtime."""
PLATFORM = "aarch64"
"""Every target runs on Graviton; AgentCore takes nothing else."""
REQUIREMENTS = Path("adapters/packages/requirements.txt")
STAMP = ".requirements.sha256"
_DIFFERS = ("RECORD", "INSTALLER", "REQUESTED", "direct_url.json")
"""Files of a dist-info that say how it was installed here. Licences stay."""


def wheel_options(platform: str, python: str) -> list[str]:
    """pip's options for wheels of another machine."""
    tags = [f"manylinux2014_{platform}", f"manylinux_2_28_{platform}"]
    options = [option for tag in tags for option in ("--platform", tag)]
    return [*options, "--only-binary=:all:", "--implementation", "cp", "--python-version", python]


def folder(root: Path, platform: str = PLATFORM, python: str = PYTHON) -> Path:
    """Where the packages for a platform are put by default."""
    return root / "out" / "vendor" / f"{platform}-{python}"


def vendored(root: Path, vendor: Path | None = None) -> Path:
    """The folder of unpacked packages.

    Raises:
        PackagingError: it is not there, or was made from other requirements.
    """
    vendor = vendor or folder(root)
    if not (vendor / STAMP).is_file():
        raise PackagingError(f"There are no vendored packages in {vendor}. Run: make vendor")
    if not fresh(vendor, stamp(root)):
        raise PackagingError(
            f"The packages in {vendor} were not made from today's {REQUIREMENTS}. Run: make vendor"
        )
    return vendor


def stamp(root: Path, platform: str = PLATFORM, python: str = PYTHON) -> str:
    """What packages are made from: the machine, and the hash of the requirements."""
    return f"{platform}-{python} {hashlib.sha256((root / REQUIREMENTS).read_bytes()).hexdigest()}\n"


def fresh(vendor: Path, wanted: str) -> bool:
    """Whether a folder of packages was made, to the end, from what a stamp says."""
    path = vendor / STAMP
    return path.is_file() and path.read_text(encoding="utf-8") == wanted


def make(root: Path, out: Path, *, platform: str = PLATFORM, python: str = PYTHON) -> None:
    """Download and unpack the packages into `out`, which is replaced as a whole.

    Raises:
        PackagingError: pip failed; its own words are above.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".vendor-") as work:
        target = Path(work) / "packages"
        options = [*wheel_options(platform, python), "--no-deps", "--require-hashes", "--no-compile"]
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(target), *options]
        command += ["--disable-pip-version-check", "-r", str(root / REQUIREMENTS)]
        if subprocess.run(command, check=False).returncode != 0:  # noqa: S603 - pip, with options of ours
            raise PackagingError(f"pip could not vendor {REQUIREMENTS} for {platform}, Python {python}.")
        _strip(target)
        (target / STAMP).write_text(stamp(root, platform, python), encoding="utf-8")
        if out.exists():
            shutil.rmtree(out)
        target.rename(out)


def _strip(target: Path) -> None:
    shutil.rmtree(target / "bin", ignore_errors=True)
    for cache in sorted(target.rglob("__pycache__")):
        shutil.rmtree(cache)
    for name in _DIFFERS:
        for path in target.glob(f"*.dist-info/{name}"):
            path.unlink()


def main(arguments: list[str] | None = None) -> None:
    """The command line; exit code 2 and a sentence when it fails."""
    parser = argparse.ArgumentParser(prog="python -m infra.packaging.vendor", description=__doc__)
    parser.add_argument("--python", default=PYTHON)
    parser.add_argument("--platform", default=PLATFORM, choices=("aarch64", "x86_64"))
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    root = Path.cwd()
    out = given.out or folder(root, given.platform, given.python)
    try:
        if not fresh(out, stamp(root, given.platform, given.python)):
            make(root, out, platform=given.platform, python=given.python)
    except PackagingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    sys.stdout.write(f"{out}\n")


if __name__ == "__main__":
    main()
