"""Starts and talks to ``replica_program``."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

_PROGRAM = Path(__file__).with_name("replica_program.py")


class Replica:
    """One copy of the app in a process of its own."""

    def __init__(self, folder: Path, **env: str) -> None:
        given = {**os.environ, "RIGFIT_NETWORK": "off", "RIGFIT_DATA_DIR": str(folder), "PYTHONIOENCODING": "utf-8"}
        self.stderr = folder.with_name(f"{folder.name}.stderr")
        with self.stderr.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(_PROGRAM)], cwd=_PROGRAM.parents[2], env={**given, **env}, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8",
            )  # fmt: skip

    def ready(self) -> Replica:
        assert self.result() == {"ready": True}
        return self

    def send(self, **wish: Any) -> None:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(wish) + "\n")
        self.process.stdin.flush()

    def line(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line, self.stderr.read_text()
        return line.strip()

    def result(self) -> Any:
        while (line := self.line()).startswith("step "):
            pass
        return json.loads(line)

    def do(self, **wish: Any) -> Any:
        self.send(**wish)
        return self.result()

    def ask(self, text: str, thread: str = "t") -> Any:
        return self.do(ask=text, thread=thread)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)

    def close(self) -> None:
        """End it as its reader would."""
        if self.process.poll() is None and self.process.stdin:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.kill()
