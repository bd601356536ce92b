"""The command line `mtrl`; its commands are in `mtrl/commands`, and `mtrl --help` lists them."""

import sys


def main() -> None:
    """Run the command line. A user's mistake ends in one sentence and exit code 2."""
    try:
        from mtrl.application import app
    except ModuleNotFoundError as error:
        missing = error.name or "a package"
        sys.stderr.write(
            f"mtrl: {missing} is not installed. In mtrl-kit's folder: pip install -e '.[rehearsal]'\n"
        )
        sys.exit(2)
    app()


if __name__ == "__main__":
    main()
