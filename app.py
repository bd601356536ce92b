"""The CDK app: context -> settings -> stacks.

cdk deploy --all -c env=dev -c target=fargate -c adapter=sop
"""

import os
import sys
from pathlib import Path

from infra.context import load
from infra.errors import SettingsError, refusal
from infra.packaging.errors import PackagingError
from infra.stacks import App, build


def main() -> None:
    """Synthesize one deployment. A mistake in the settings ends in sentences and exit code 2."""
    root = Path(__file__).parent
    app = App()
    try:
        build(app, load(app.node.try_get_context, root, os.environ.get("CDK_DEFAULT_ACCOUNT")), root)
    except (SettingsError, PackagingError) as error:
        sys.stderr.write(refusal(error))
        sys.exit(2)
    app.synth()


if __name__ == "__main__":
    main()
