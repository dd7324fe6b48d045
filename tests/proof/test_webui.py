"""The files of text-generation-webui over the grid of plans: its parser's flags, its loaders' settings, shellcheck."""

from __future__ import annotations

import grid

from tools.launch.checks.shell import check_shell
from tools.launch.checks.webui import check_cmd_flags, check_user_config
from tools.launch.files import LaunchFile


def test_every_file_is_accepted() -> None:
    accepted = grid.accepted("webui")
    assert len(accepted) >= 25, [one.refused for one in grid.made("webui")]
    scripts: list[LaunchFile] = []
    for number, one in enumerate(accepted):
        assert one.files
        for file in one.files.files:
            if file.path.endswith("CMD_FLAGS.txt"):
                assert check_cmd_flags(file.path, file.content).ok, one.name
            if file.path.endswith("config-user.yaml"):
                assert check_user_config(file.content).ok, one.name
            if file.path.endswith(".sh"):
                scripts.append(LaunchFile(f"{number}.sh", file.content))
    assert all(check.ok for check in check_shell(scripts))
