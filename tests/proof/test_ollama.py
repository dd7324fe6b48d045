"""Ollama's files over the grid of plans: its Modelfile's grammar and parameters, its settings, systemd, shellcheck."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import grid
import pytest
from scripts_of_grid import faults

from tools.launch.checks.ollama import check_modelfiles, check_settings
from tools.launch.files import LaunchFile


def files(ending: str) -> list[LaunchFile]:
    return [
        file
        for one in grid.accepted("ollama")
        for file in (one.files.files if one.files else ())
        if re.search(ending, file.path)
    ]


def test_every_modelfile_is_accepted() -> None:
    found = files(r"(?:^|/)Modelfile\.")
    assert len(found) >= 150
    said = check_modelfiles(file.content for file in found)
    assert said.ok, said.detail[:2000]


def test_every_setting_is_one_that_the_server_reads() -> None:
    found = files(r"\.env$")
    assert len(found) >= 100
    said = check_settings(dict(re.findall(r"^([A-Z_]+)=(.*)$", file.content, re.MULTILINE)) for file in found)
    assert said.ok, said.detail[:2000]


def test_the_drop_in_is_taken_by_systemd(tmp_path: Path) -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        pytest.skip("no systemd-analyze here (package systemd)")
    distinct = {re.sub(r"^#.*\n", "", file.content, flags=re.MULTILINE) for file in files(r"rigfit\.conf$")}
    assert distinct
    for number, text in enumerate(distinct):
        unit = tmp_path / f"ollama{number}.service"
        unit.write_text(f"[Unit]\nDescription=Ollama\n\n{text}ExecStart=/bin/true serve\n")
    done = subprocess.run(
        [tool, "--man=no", "--generators=no", "verify", *map(str, tmp_path.iterdir())],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not [line for line in done.stderr.splitlines() if str(tmp_path) in line], done.stderr


def test_every_script_pleases_shellcheck() -> None:
    assert faults("ollama") == []
