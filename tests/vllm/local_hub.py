"""A model hub on this machine, which knows the models that these tests serve: their configurations and their sizes."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kept_models import HOME, folder_of


class _Hub(BaseHTTPRequestHandler):
    """Speaks as much of the hub's wire format as a look-up needs."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def log_message(self, format: str, *args: Any) -> None:
        del format, args

    def _answer(self, *, with_body: bool) -> None:
        parts = urlsplit(self.path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            body, more = _info("/".join(parts[2:4])), {"Content-Type": "application/json"}
        else:
            snapshot = _snapshot("/".join(parts[:2]))
            file = snapshot / parts[-1] if snapshot else None
            body = file.read_bytes() if file and file.exists() else None
            more = {"ETag": '"1"', "X-Repo-Commit": snapshot.name if snapshot else ""}
        self.send_response(404 if body is None else 200)
        for name, value in ({} if body is None else more).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        if with_body:
            self.wfile.write(body or b"")


def _snapshot(repo: str) -> Path | None:
    return next((HOME / "hub" / folder_of(repo) / "snapshots").glob("*"), None)


def _info(repo: str) -> bytes | None:
    snapshot = _snapshot(repo)
    if snapshot is None:
        return None
    files = [{"rfilename": file.name, "size": file.stat().st_size} for file in snapshot.iterdir()]
    said = {"id": repo, "modelId": repo, "sha": snapshot.name, "private": False, "gated": False, "tags": []}
    return json.dumps(said | {"_id": "1", "siblings": files, "downloads": 1, "likes": 0}).encode()


@contextmanager
def local_hub() -> Iterator[str]:
    """Run it; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
