"""The CDK app: context -> settings -> stacks.

cdk deploy --all -c env=dev -c target=fargate -c adapter=sop
"""

import os
import sys
from pathlib import Path

from infra.context import load
from infra.errors import SettingsError
from infra.stacks import App, build


def main() -> None:
    """Synthesize one deployment. A mistake in the settings ends in sentences and exit code 2."""
    root = Path(__file__).parent
    app = App()
    try:
        settings = load(app.node.try_get_context, root, os.environ.get("CDK_DEFAULT_ACCOUNT"))
    except SettingsError as error:
        sys.stderr.write("The settings cannot be deployed:\n" + "".join(f"  {p}\n" for p in error.problems))
        sys.exit(2)
    build(app, settings, root)
    app.synth()


if __name__ == "__main__":
    main()
