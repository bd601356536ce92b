"""The entry point of a code zip on AgentCore Runtime, which runs a file and no module.

Third-party packages lie beside this file; the runtime's contract is port 8080 on every interface.
"""

import os
import runpy

if __name__ == "__main__":
    os.environ["HOST"], os.environ["PORT"] = "0.0.0.0", "8080"  # noqa: S104 - the runtime's own network
    runpy.run_module("adapters.entrypoints.http", run_name="__main__")
