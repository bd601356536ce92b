"""`python -m adapters.environments.sop.generator` rewrites the CSV files of the shipped domains."""

import argparse
import sys

from adapters.environments.sop.generator import write_all

if __name__ == "__main__":
    argparse.ArgumentParser(
        prog="python -m adapters.environments.sop.generator", description=__doc__
    ).parse_args()
    for path in write_all():
        sys.stdout.write(f"{path}\n")
