"""A stand-in for the model hub on the loopback interface, over HTTPS, as far as the peers speak with it.

It answers what a calculator reads of a repository without its weights: ``config.json`` and the index whole, the header
of the weights by ranges, and the API's list of files with sizes and parameter counts. The weights themselves are zeros
that are never kept: a range of them is made when it is asked for.

The protocol is that of ``huggingface_hub`` 2.4 (``file_download.get_hf_file_metadata``: HEAD with ``ETag`` and
``X-Repo-Commit``) and of the safetensors format (eight bytes with the header's length, then JSON).
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
import struct
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

HOST = "huggingface.co"
SHARD = "model-00001-of-00001.safetensors"
INDEX = "model.safetensors.index.json"
MAX_RANGE = 1 << 26
_ELEMENT_BYTES = {"F32": 4, "I32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "I8": 1, "U8": 1}
_API = re.compile(r"/api/models/(?P<repo>[^/]+/[^/]+)(?:/(?P<what>revision|tree)/[^/]+)?/?")
_FILE = re.compile(r"/(?P<repo>[^/]+/[^/]+)/resolve/[^/]+/(?P<file>.+)")


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a checkpoint: its name, its safetensors dtype and its shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        count = 1
        for size in self.shape:
            count *= size
        return count

    @property
    def bytes(self) -> int:
        return self.elements * _ELEMENT_BYTES[self.dtype]


@dataclass(frozen=True, slots=True)
class Repository:
    """What is served of one repository; ``params`` is the published count of parameters, packed ones counted each."""

    name: str
    config: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    params: int = 0

    @property
    def weight_bytes(self) -> int:
        return sum(tensor.bytes for tensor in self.tensors)

    @property
    def parameters(self) -> dict[str, int]:
        """Elements by dtype, as the hub counts them."""
        counts: dict[str, int] = {}
        for tensor in self.tensors:
            counts[tensor.dtype] = counts.get(tensor.dtype, 0) + tensor.elements
        return counts

    @property
    def commit(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:40]

    def header(self) -> bytes:
        """The start of the weights' file: a length and a JSON object that names every tensor."""
        offset, listed = 0, {}
        for tensor in self.tensors:
            end = offset + tensor.bytes
            listed[tensor.name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": (offset, end)}
            offset = end
        text = json.dumps(listed, separators=(",", ":")).encode()
        return struct.pack("<Q", len(text)) + text

    def files(self) -> dict[str, tuple[bytes, int]]:
        """Each file: the bytes it starts with, and its whole size; the rest is zeros."""
        total = {"metadata": {"total_size": self.weight_bytes}, "weight_map": {t.name: SHARD for t in self.tensors}}
        found = {"config.json": json.dumps(self.config).encode()}
        if self.tensors:
            found[INDEX] = json.dumps(total).encode()
        sized = {name: (content, len(content)) for name, content in found.items()}
        if self.tensors:
            header = self.header()
            sized[SHARD] = (header, len(header) + self.weight_bytes)
        return sized

    def described(self) -> dict[str, Any]:
        """The API's answer about the repository."""
        counts = self.parameters
        siblings = [{"rfilename": name, "size": size} for name, (_, size) in self.files().items()]
        about: dict[str, Any] = {"id": self.name, "modelId": self.name, "sha": self.commit, "private": False}
        about |= {"tags": [], "siblings": siblings, "config": {"architectures": self.config.get("architectures")}}
        return about | ({"safetensors": {"parameters": counts, "total": sum(counts.values())}} if counts else {})


class Handler(BaseHTTPRequestHandler):
    """Answers GET and HEAD from ``repositories``; what is not there is a 404, as on the hub."""

    repositories: Mapping[str, Repository] = {}
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Stay silent."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if found := _API.fullmatch(path):
            self._api(found["repo"], found["what"])
        elif found := _FILE.fullmatch(path):
            self._file(found["repo"], found["file"])
        else:
            self._missing()

    def _api(self, name: str, what: str | None) -> None:
        repository = self.repositories.get(name)
        if repository is None:
            return self._missing()
        if what == "tree":
            files = repository.files().items()
            answer: Any = [{"type": "file", "path": file, "size": size, "oid": "0" * 40} for file, (_, size) in files]
        else:
            answer = repository.described()
        return self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _file(self, name: str, file: str) -> None:
        repository = self.repositories.get(name)
        found = repository.files().get(file) if repository else None
        if repository is None or found is None:
            return self._missing()
        start, size = found
        headers = {
            "ETag": f'"{hashlib.sha256(f"{name}/{file}".encode()).hexdigest()}"',
            "X-Repo-Commit": repository.commit,
            "Accept-Ranges": "bytes",
        }
        first, last = asked_range(self.headers.get("Range"), size)
        if first is None:
            if self.command == "HEAD" or size <= MAX_RANGE:
                return self._send(200, part(start, 0, min(size, MAX_RANGE)), headers, size)
            first, last = 0, MAX_RANGE - 1
        if first >= size or last < first:
            return self._send(416, b"", {"Content-Range": f"bytes */{size}"})
        last = min(last, first + MAX_RANGE - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return self._send(206, part(start, first, last + 1), headers)

    def _missing(self) -> None:
        self._send(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str], size: int | None = None) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if size is None else size))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def asked_range(said: str | None, size: int) -> tuple[int | None, int]:
    """Read a ``Range`` header: the first and the last byte asked for; no first where there is no single range.

    >>> asked_range("bytes=8-", 100)
    (8, 99)
    """
    found = re.fullmatch(r"bytes=(\d{0,20})-(\d{0,20})", said or "")
    if found is None or found[0] == "bytes=-":
        return None, 0
    if not found[1]:
        return max(0, size - int(found[2])), size - 1
    return int(found[1]), min(int(found[2] or size), size - 1)


def part(start: bytes, first: int, end: int) -> bytes:
    """Bytes ``first`` to ``end`` of a file that begins with ``start`` and goes on with zeros."""
    return start[first:end].ljust(end - first, b"\0")


@contextmanager
def serving(repositories: Mapping[str, Repository], security: ssl.SSLContext | None) -> Iterator[int]:
    """Serve while the block runs.

    Args:
        repositories: by name.
        security: a server's, with a certificate for ``HOST``; None = without encryption.

    Yields:
        The port.
    """
    handler = type("Served", (Handler,), {"repositories": repositories})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if security is not None:
        server.socket = security.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
