"""What the benches share of their command lines: a wrong number is refused before anything is started."""

import argparse


def count(text: str) -> int:
    """For argparse: a whole number from 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1")
    return number
