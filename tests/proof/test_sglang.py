"""The files of SGLang over the grid of plans: its own parser's flags, shellcheck."""

from __future__ import annotations

import shlex

import grid

from tools.launch.checks.sglang import check_sglang_flags
from tools.launch.checks.shell import check_shell
from tools.launch.files import LaunchFile


def test_every_file_is_accepted() -> None:
    accepted = grid.accepted("sglang")
    assert len(accepted) >= 25, [one.refused for one in grid.made("sglang")]
    scripts: list[LaunchFile] = []
    for number, one in enumerate(accepted):
        assert one.files
        for file in one.files.files:
            if not file.path.endswith(".sh"):
                continue
            scripts.append(LaunchFile(f"{number}/{file.path}", file.content))
            if "serve-" in file.path:
                words = shlex.split(file.content[file.content.index("exec ") + 5 :].replace("\\\n", " "))
                command = [word for word in words[:-1] if word != "$SGLANG_API_KEY"]
                key = command.index("--api-key") if "--api-key" in command else None
                command = command if key is None else command[:key] + command[key + 1 :]
                assert check_sglang_flags([command]).ok, one.name
    assert all(check.ok for check in check_shell(scripts))
