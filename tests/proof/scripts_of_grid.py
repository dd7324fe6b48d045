"""What shellcheck says of the scripts of one target over the grid.

Scripts that differ in comments, numbers and names only are asked about once.
"""

from __future__ import annotations

import re

import grid

from tools.launch.checks.shell import check_shell
from tools.launch.files import LaunchFile

AT_ONCE = 30


def faults(target: str) -> list[str]:
    """Return shellcheck's complaints; none = all accepted."""
    distinct: dict[str, LaunchFile] = {}
    for one in grid.accepted(target):
        for file in one.files.files if one.files else ():
            if file.path.endswith(".sh"):
                lines = (line for line in file.content.split("\n") if not line.startswith("# "))
                shape = re.sub(r"[\w./:-]*\d[\w./:-]*", "0", "\n".join(lines))
                distinct.setdefault(shape, LaunchFile(f"{len(distinct)}/{file.path}", file.content))
    assert distinct
    scripts = list(distinct.values())
    said = [check for at in range(0, len(scripts), AT_ONCE) for check in check_shell(scripts[at : at + AT_ONCE])]
    assert all(check.ok is not None for check in said), said
    return [check.detail for check in said if not check.ok]
