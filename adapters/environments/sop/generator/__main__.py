"""`python -m adapters.environments.sop.generator` rewrites the CSV files of the shipped domains."""

import sys

from adapters.environments.sop.generator import write_all

if __name__ == "__main__":
    for path in write_all():
        sys.stdout.write(f"{path}\n")
