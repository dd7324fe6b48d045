"""Record the parser of text-generation-webui as a small table: flags, value type, choices, number of values.

Reads ``modules/shared.py`` and ``modules/loaders.py`` of a checkout without running them:

    python scripts/webui_flags.py PATH/TO/CHECKOUT > tools/launch/data/webui-4.7.3-flags.json
"""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path

SAMPLING = "API generation defaults"
"""Group of flags about sampling; their defaults are computed, and launch files set none of them."""


def flags(source: str) -> dict[str, dict[str, object]]:
    rows: dict[str, dict[str, object]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "add_argument":
            names = [word.value for word in node.args if isinstance(word, ast.Constant)]
            row = _row({word.arg: word.value for word in node.keywords if word.arg})
            row["dest"] = str(names[0]).lstrip("-").replace("-", "_")
            rows |= {str(name): row for name in names}
    return dict(sorted(rows.items()))


def _row(words: dict[str, ast.expr]) -> dict[str, object]:
    row: dict[str, object] = {}
    action = words.get("action")
    if isinstance(action, ast.Attribute) or (isinstance(action, ast.Constant) and action.value == "store_true"):
        row["nargs"] = 0
    nargs = words.get("nargs")
    if isinstance(nargs, ast.Constant):
        row["nargs"] = nargs.value
    kind = words.get("type")
    if isinstance(kind, ast.Name) and kind.id in {"int", "float"}:
        row["type"] = kind.id
    if "choices" in words:
        row["choices"] = ast.literal_eval(words["choices"])
    return row


def loaders(source: str) -> dict[str, list[str]]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "loaders_and_params":
            call = node.value
            assert isinstance(call, ast.Call)
            return ast.literal_eval(call.args[0])
    raise SystemExit("modules/loaders.py names no loaders")


def main() -> None:
    modules = Path(sys.argv[1]) / "modules"
    table = {
        "flags": flags((modules / "shared.py").read_text(encoding="utf-8")),
        "loaders": loaders((modules / "loaders.py").read_text(encoding="utf-8")),
    }
    print(json.dumps(table, separators=(",", ":")).replace('"--', '\n"--'))


main()
