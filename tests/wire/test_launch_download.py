"""The download program against a hub of our own: what it fetches, and what it says when it can't."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlsplit

import pytest

from tools.launch.container_scripts import DOWNLOAD

SHA = "0123456789abcdef0123456789abcdef01234567"
REPO = "Org/Tiny"
FILES = {
    "config.json": b"{}",
    "model.safetensors": b"weights" * 99,
    "pytorch_model.bin": b"old",
    "original/consolidated.pth": b"old",
    "model-Q4.gguf": b"other",
}


class Hub(BaseHTTPRequestHandler):
    """The hub's model information and file routes, for one repository; others are missing or gated."""

    protocol_version = "HTTP/1.1"
    claimed: dict[str, int] = {}  # noqa: RUF012 - set by a test
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        if "/Org/Gated" in path:
            return self._send(403, b"", {"X-Error-Code": "GatedRepo"}, body)
        if path.startswith(f"/api/models/{REPO}/tree/"):
            tree = [{"type": "file", "path": n, "size": len(c), "oid": "0" * 40} for n, c in FILES.items()]
            return self._send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)
        if path.startswith(f"/api/models/{REPO}"):
            files = [
                {"rfilename": n, "size": self.claimed.get(n, len(c)), "blobId": hashlib.sha1(c).hexdigest()}
                for n, c in FILES.items()
            ]
            info = {"id": REPO, "sha": SHA, "siblings": files, "tags": [], "private": False, "downloads": 0}
            return self._send(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        name = path.removeprefix(f"/{REPO}/resolve/{SHA}/")
        if name in FILES:
            etag = hashlib.sha1(FILES[name]).hexdigest()
            return self._send(200, FILES[name], {"ETag": f'"{etag}"', "X-Repo-Commit": SHA}, body)
        return self._send(401, b"", {"X-Error-Code": "RepoNotFound"}, body)

    def _send(self, status: int, content: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.claimed, Hub.asked = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def download(home: Path, hub: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {"HF_HOME": str(home), "HF_ENDPOINT": hub, "PATH": os.environ["PATH"], "HF_HUB_DISABLE_TELEMETRY": "1"}
    command = [sys.executable, "-c", DOWNLOAD, *words]
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)


def snapshot(home: Path) -> set[str]:
    root = home / "hub" / "models--Org--Tiny" / "snapshots" / SHA
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def test_the_weights_and_their_configuration_are_fetched_and_nothing_else(tmp_path: Path, hub: str):
    done = download(tmp_path, hub, REPO, "", "700")
    assert done.returncode == 0, done.stderr
    assert snapshot(tmp_path) == {"config.json", "model.safetensors"}


def test_a_second_time_nothing_is_asked(tmp_path: Path, hub: str):
    assert download(tmp_path, hub, REPO, SHA, "700").returncode == 0
    Hub.asked.clear()
    done = download(tmp_path, hub, REPO, SHA, "700")
    assert done.returncode == 0
    assert "already here" in done.stdout
    assert Hub.asked == []


def test_a_disk_that_is_too_small_is_said_before_anything_is_fetched(tmp_path: Path, hub: str):
    Hub.claimed = {"model.safetensors": 1 << 60}
    done = download(tmp_path, hub, REPO, "", "0")
    assert done.returncode == 1
    assert "Not enough disk" in done.stderr
    assert snapshot(tmp_path) == set()


def test_the_disk_must_hold_all_models_together(tmp_path: Path, hub: str):
    half = shutil.disk_usage(tmp_path).free * 2 // 3
    Hub.claimed = {"model.safetensors": half}
    done = download(tmp_path, hub, REPO, "", "0", REPO, SHA, "0")
    assert "Not enough disk" in done.stderr
    assert snapshot(tmp_path) == set()


def test_a_gated_model_is_explained(tmp_path: Path, hub: str):
    done = download(tmp_path, hub, "Org/Gated", "", "0")
    assert done.returncode == 1
    assert "Org/Gated is gated" in done.stderr
    assert "HF_TOKEN" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_that_is_not_there_is_explained(tmp_path: Path, hub: str):
    done = download(tmp_path, hub, "Org/Missing", "", "0")
    assert done.returncode == 1
    assert "Org/Missing was not found" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_does_not_answer_is_explained(tmp_path: Path):
    done = download(tmp_path, "http://127.0.0.1:9", REPO, "", "0")
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr
    assert "Traceback" not in done.stderr
