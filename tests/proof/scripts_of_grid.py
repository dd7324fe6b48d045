"""What shellcheck says of the scripts of one target over the grid, each asked for once whatever its comments say."""

from __future__ import annotations

import grid

from tools.launch.checks.shell import check_shell
from tools.launch.files import Check, LaunchFile


def check_scripts(target: str) -> Check:
    distinct: dict[tuple[str, ...], LaunchFile] = {}
    for one in grid.accepted(target):
        for file in one.files.files if one.files else ():
            if file.path.endswith(".sh"):
                body = tuple(line for line in file.content.split("\n") if not line.startswith("# "))
                distinct.setdefault(body, LaunchFile(f"{len(distinct)}/{file.path}", file.content))
    (said,) = check_shell(distinct.values())
    return said
