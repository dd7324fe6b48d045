"""A PostgreSQL server of our own in a temporary folder, from the system's binaries, on loopback, with a password."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PASSWORD = "s3cret-Pa55"
USER = "rigfit"


def binaries() -> Path:
    """The folder with ``initdb`` and ``pg_ctl``."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    named = shutil.which("initdb")
    assert found or named, "run scripts/postgres.sh first"
    return (found[-1] if found else Path(str(named)).resolve()).parent


class PostgresServer:
    """A cluster that can be stopped and started again. It refuses to run as root, so root lends it another user."""

    def __init__(self) -> None:
        self._bin = binaries()
        self._folder = Path(tempfile.mkdtemp(prefix="rigfit-pg-"))
        self._user: dict[str, Any] = {}
        if os.geteuid() == 0:
            owner = next(p for p in pwd.getpwall() if p.pw_name in {"postgres", "nobody"})
            self._user = {"user": owner.pw_uid, "group": owner.pw_gid}
            os.chown(self._folder, owner.pw_uid, owner.pw_gid)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        secret = self._folder / "password"
        secret.write_text(PASSWORD)
        if self._user:
            os.chown(secret, self._user["user"], self._user["group"])
        self._run(
            "initdb", "-D", "data", "-U", USER, "-A", "scram-sha-256", "--pwfile=password", "--no-sync", "-E", "UTF8",
            "--locale=C.UTF-8",
        )  # fmt: skip

    @property
    def url(self) -> str:
        return self.url_with(PASSWORD)

    def url_with(self, password: str) -> str:
        return f"postgresql://{USER}:{password}@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off"
        self._run("pg_ctl", "-D", "data", "-w", "-t", "60", "-l", "log", "-o", options, "start")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-w", "-m", "immediate", "stop")

    def remove(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *words: str) -> None:
        done = subprocess.run(
            [self._bin / program, *words], cwd=self._folder, timeout=90, text=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if program == "initdb" else subprocess.DEVNULL, stderr=subprocess.STDOUT,
            **self._user,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
