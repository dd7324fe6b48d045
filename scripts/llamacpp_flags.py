"""Record the parser of ``llama-server`` as a small table, from what the program itself prints.

    python scripts/llamacpp_flags.py PATH/TO/llama-server > tools/launch/data/llamacpp-b11434-flags.json

``scripts/llamacpp.sh`` makes such a program. Each flag's row: its long name, how many values it takes, whether they are
numbers, and the words it allows.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

COLUMN = 40
"""Where the explanation begins; a longer flag has a line of its own (``common_arg::to_string``, ``common/arg.cpp``)."""

_NUMBERS = {"N", "PORT", "SEED", "INDEX"}
_ALLOWED = re.compile(r"allowed values: ([a-z0-9_, ]+?)\(default")


def table(text: str) -> dict[str, dict[str, object]]:
    """Read the printed help."""
    entries: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("-") and not line.startswith("-----"):
            long = len(line) <= COLUMN or line[COLUMN - 1] != " "
            entries.append((line if long else line[:COLUMN], [] if long else [line[COLUMN:]]))
        elif entries:
            entries[-1][1].append(line.strip())
    return dict(sorted(row for head, help in entries for row in _rows(head.strip(), " ".join(help))))


def _rows(head: str, explained: str) -> list[tuple[str, dict[str, object]]]:
    words = re.split(r",\s+", head)
    last, _, hint = words[-1].partition(" ")
    names = [*words[:-1], last]
    longs = [name for name in names if name.startswith("--")]
    row: dict[str, object] = {"nargs": 0 if not hint else 2 if hint == "START END" else 1}
    if hint in _NUMBERS and "'auto'" not in explained:
        row["type"] = "number"
    choices = re.fullmatch(r"[{\[<]([a-z0-9]+(?:[,|][a-z0-9]+)+)[}\]>]", hint)
    listed = _ALLOWED.search(explained)
    if choices or listed:
        row["choices"] = re.split(r"[,|]\s*", (choices or listed)[1].strip())  # pyright: ignore[reportOptionalSubscript]
    return [(name, {"long": _long(name, longs), **row}) for name in names]


def _long(name: str, longs: list[str]) -> str:
    """The first long name that means the same: ``-nkvo`` is ``--no-kv-offload``, ``--predict`` is ``--predict``."""
    negative = [long for long in longs if long.startswith("--no-")]
    positive = [long for long in longs if long not in negative]
    denies = name in negative or re.match(r"-n(o-)?(?!p\b|gl|cmoe|cffn)[a-z]", name)
    return (negative if denies and negative else positive or negative)[0]


def main() -> None:
    program = sys.argv[1]
    said = [
        subprocess.run([program, flag], capture_output=True, text=True, timeout=60, check=True)
        for flag in ("--help", "--version")
    ]
    build = re.search(r"build (\d+)", said[1].stdout + said[1].stderr)
    rows = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in table(said[0].stdout).items())
    version = f"b{build[1]}" if build else ""
    print(f'{{\n"engine": "llama.cpp", "version": {json.dumps(version)}, "flags": {{\n{rows}\n}}}}')


if __name__ == "__main__":
    main()
