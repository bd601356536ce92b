"""A private package index on this machine, to see that its credentials enter no image.

    python scripts/private_index.py FOLDER_OF_WHEELS USER PASSWORD PORT_FILE

Serves the wheels as a simple index to who sends the password, and writes its port to PORT_FILE.
"""

import base64
import hashlib
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def page(folder: Path, name: str) -> bytes:
    """The links to a project's wheels, with their hashes."""
    wheels = [path for path in folder.glob("*.whl") if _project(path.name) == name]
    return "\n".join(_link(path) for path in wheels).encode()


def _link(path: Path) -> str:
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return f'<a href="/wheels/{path.name}#sha256={sha256}">{path.name}</a>'


def _project(wheel: str) -> str:
    return wheel.split("-")[0].lower().replace("_", "-")


def handler(folder: Path, user: str, password: str) -> type[BaseHTTPRequestHandler]:
    """The request handler of an index over `folder`."""
    wanted = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    class Index(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.headers.get("Authorization") != wanted:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="index"')
                self.end_headers()
                return
            parts = self.path.strip("/").split("/")
            wheel = parts[0] == "wheels"
            body = (folder / parts[1]).read_bytes() if wheel else page(folder, parts[1])
            self.send_response(200)
            self.send_header("Content-Type", "application/octet-stream" if wheel else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Index


if __name__ == "__main__":
    served = ThreadingHTTPServer(("127.0.0.1", 0), handler(Path(sys.argv[1]), sys.argv[2], sys.argv[3]))
    Path(sys.argv[4]).write_text(str(served.server_port), encoding="utf-8")
    served.serve_forever()
