"""Whether systemd takes unit files."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from shutil import which

from tools.launch.files import Check, LaunchFile

_NAME = "systemd"


def check_units(files: Iterable[LaunchFile], home: str) -> tuple[Check, ...]:
    """Whether ``systemd-analyze verify`` takes the user units among ``files``; nothing where there are none.

    Args:
        files: units (``*.service``, ``*.target``) and the scripts they call.
        home: where the units look for the scripts, from ``%h`` on: ``"%h/rigfit"``.
    """
    listed = list(files)
    units = [file for file in listed if file.path.endswith((".service", ".target"))]
    if not units:
        return ()
    tool = which("systemd-analyze")
    if tool is None:
        return (Check(_NAME, None, "validator not there: systemd-analyze (package systemd)"),)
    with tempfile.TemporaryDirectory() as folder:
        for file in listed:
            path = Path(folder, home.removeprefix("%h/"), file.path)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(file.content, encoding="utf-8")
            path.chmod(0o755 if file.executable else 0o644)
        return (_verdict(tool, folder, [str(Path(folder, home.removeprefix("%h/"), unit.path)) for unit in units]),)


def _verdict(tool: str, folder: str, paths: list[str]) -> Check:
    """It ends with 0 where it only ignores a setting, so whatever it says is a fault."""
    beside = ("HOME=" + folder, "XDG_RUNTIME_DIR=" + folder, "XDG_CONFIG_HOME=" + folder + "/.config")
    command = ["env", *beside, f"SYSTEMD_UNIT_PATH={os.path.dirname(paths[0])}:", tool, "--user", "--man=no"]
    try:
        done = subprocess.run(  # noqa: S603
            [*command, "--generators=no", "verify", *paths],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check(_NAME, None, f"systemd-analyze did not answer: {error}")
    said = (done.stdout + done.stderr).replace(folder, "~").strip()
    if done.returncode or said:
        return Check(_NAME, False, said)
    return Check(_NAME, True, f"systemd-analyze verify: {', '.join(os.path.basename(path) for path in paths)}")
