"""Start the stand-in hub, and ask every peer about every row within its reach, two commands at a time."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from .adapters import ADAPTERS, Answer, Question
from .hub import HOST, Repository, serving
from .rows import Row, requests

LIMIT_S = 60
AT_ONCE = 2
SITE = Path(__file__).parent / "site"
WIDE = "20000"
"""Columns of a terminal on which no tool breaks its lines, which would break its JSON."""


@contextmanager
def environment(binaries: Path, repositories: Mapping[str, Repository]) -> Iterator[dict[str, str]]:
    """Serve the repositories, and yield the variables under which a peer finds them.

    Args:
        binaries: the ``bin`` folder of the peers' environment.
        repositories: by name.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make = [binaries / "python", "-m", "trustme", "-q", "-d", folder, "-i", HOST]
        subprocess.run(make, check=True)
        security = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        security.load_cert_chain(folder / "server.pem", folder / "server.key")
        with serving(repositories, security) as port:
            yield {
                "PATH": os.environ["PATH"],
                "HOME": name,
                "HF_HOME": str(folder / "hub"),
                "HF_HUB_DISABLE_TELEMETRY": "1",
                "DO_NOT_TRACK": "1",
                "PYTHONPATH": str(SITE),
                "PYTHONWARNINGS": "ignore",
                "STAND_IN_PORT": str(port),
                "SSL_CERT_FILE": str(folder / "client.pem"),
                "REQUESTS_CA_BUNDLE": str(folder / "client.pem"),
                "COLUMNS": WIDE,
                "NO_COLOR": "1",
                "TERM": "dumb",
            }


def ask(binaries: Path, variables: Mapping[str, str], *command: str) -> str:
    """Run one command of a peer and return what it printed; "" where it did not end in time."""
    program = [str(binaries / command[0]), *command[1:]]
    try:
        done = subprocess.run(
            program, env=dict(variables), cwd=variables["HOME"], capture_output=True, text=True, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired:
        return ""
    return done.stdout


def peers(
    binaries: Path, rows: Sequence[Row], repositories: Mapping[str, Repository]
) -> Iterator[tuple[str, Row, Answer]]:
    """Yield every peer's answer about every row whose repository is served."""
    with environment(binaries, repositories) as variables, ThreadPoolExecutor(AT_ONCE) as pool:
        run = cache(partial(ask, binaries, variables))
        folders = _written(Path(variables["HOME"]), repositories)
        known = [row for row in rows if row.model in repositories]
        questions = [Question(row, repositories[row.model], folders[row.model]) for row in known]
        for tool, adapter in ADAPTERS.items():
            answers = pool.map(adapter, questions, [run] * len(questions))
            for question, answer in zip(questions, answers, strict=True):
                yield tool, question.row, answer


def _written(home: Path, repositories: Mapping[str, Repository]) -> dict[str, Path]:
    """Write each ``config.json`` into a folder whose name tells nothing of the model."""
    folders = {name: home / f"config{number}" for number, name in enumerate(repositories)}
    for name, folder in folders.items():
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(repositories[name].config), encoding="utf-8")
    return folders


def rigfit(program: Path, rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Ask Rigfit's own command about the rows, without the network and the user's own measurements.

    Returns:
        Its lines by their ids.
    """
    with tempfile.TemporaryDirectory() as folder:
        batch = Path(folder) / "rows.jsonl"
        lines = (json.dumps(request) for row in rows for request in requests(row))
        batch.write_text("\n".join(lines), encoding="utf-8")
        variables = os.environ | {"RIGFIT_NETWORK": "off", "RIGFIT_DATA_DIR": folder}
        command = [program, "estimate", "--batch", batch]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    return {line["id"]: line for line in map(json.loads, done.stdout.splitlines())}
