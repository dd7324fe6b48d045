"""Record the parser of ``vllm serve`` as a small table: flags, value type, choices, number of values.

Run by the interpreter of an environment that has vLLM, not by Rigfit's:

    PATH/TO/VLLM/bin/python scripts/vllm_flags.py > tools/launch/data/vllm-0.32.0-flags.json
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib.metadata import version

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")


def table() -> dict[str, dict[str, object]]:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser  # pyright: ignore[reportMissingImports]
    from vllm.utils.argparse_utils import FlexibleArgumentParser  # pyright: ignore[reportMissingImports]

    parser = make_arg_parser(FlexibleArgumentParser(prog="vllm serve"))
    rows: dict[str, dict[str, object]] = {}
    for action in parser._actions:
        row: dict[str, object] = {}
        if action.nargs is not None:
            row["nargs"] = action.nargs
        if action.type in (int, float):
            row["type"] = action.type.__name__
        if action.choices:
            row["choices"] = sorted(map(str, action.choices))
        for flag in action.option_strings:
            rows[flag] = row
    return dict(sorted(rows.items()))


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        rows = table()
    engine = version("vllm").partition("+")[0]
    lines = ",\n".join(f"  {json.dumps(flag)}: {json.dumps(row, sort_keys=True)}" for flag, row in rows.items())
    print(f'{{\n"engine": "vllm", "version": {json.dumps(engine)}, "flags": {{\n{lines}\n}}}}')


if __name__ == "__main__":
    main()
