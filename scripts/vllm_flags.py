"""Record the parsers of ``vllm serve`` and ``vllm preload`` as a small table, with the names their flags choose from.

Run by the interpreter of an environment that has vLLM, not by Rigfit's:

    PATH/TO/VLLM/bin/python scripts/vllm_flags.py > tools/launch/data/vllm-0.32.0-flags.json

``flags`` are those of ``vllm serve``, ``preload_flags`` those that ``vllm preload`` has besides; a flag has ``nargs``,
``type`` and ``choices`` where argparse knows them. ``reasoning_parsers`` and ``tool_parsers`` are what the flags of
those names accept, which vLLM checks only when the server starts. ``remote_code_types`` are types of models in Rigfit's
catalogue whose configuration neither Transformers nor vLLM can read: their repositories bring the code for it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
CATALOGUE = Path(__file__).parents[1] / "tools" / "specs" / "data" / "models.jsonl"

# pyright: reportMissingImports=false


def rows(parser: Any) -> dict[str, dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for action in parser._actions:
        row: dict[str, object] = {}
        if action.nargs is not None:
            row["nargs"] = action.nargs
        if action.type in (int, float):
            row["type"] = action.type.__name__
        if action.choices:
            row["choices"] = sorted(map(str, action.choices))
        for flag in action.option_strings:
            found[flag] = row
    return dict(sorted(found.items()))


def serve_flags() -> dict[str, dict[str, object]]:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    return rows(make_arg_parser(FlexibleArgumentParser(prog="vllm serve")))


def preload_flags() -> dict[str, dict[str, object]]:
    from vllm.entrypoints.cli.preload import PreloadSubcommand
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = FlexibleArgumentParser(prog="vllm preload")
    PreloadSubcommand.add_cli_args(parser)
    return rows(parser)


def remote_code_types() -> list[str]:
    from transformers import CONFIG_MAPPING
    from vllm.transformers_utils.config import _CONFIG_REGISTRY

    configs = (json.loads(line)["config"] for line in CATALOGUE.read_text(encoding="utf-8").splitlines())
    types = {str(config.get("model_type")) for config in configs}
    return sorted(types - set(CONFIG_MAPPING) - set(_CONFIG_REGISTRY) - {"None", "unknown"})


def registered() -> dict[str, list[str]]:
    from vllm.reasoning import ReasoningParserManager
    from vllm.tool_parsers import ToolParserManager

    return {
        "reasoning_parsers": sorted(ReasoningParserManager.list_registered()),
        "tool_parsers": sorted(ToolParserManager.list_registered()),
        "remote_code_types": remote_code_types(),
    }


def table(name: str, found: dict[str, dict[str, object]]) -> str:
    lines = ",\n".join(f"  {json.dumps(flag)}: {json.dumps(row, sort_keys=True)}" for flag, row in found.items())
    return f"{json.dumps(name)}: {{\n{lines}\n}}"


def main() -> None:
    with contextlib.redirect_stdout(sys.stderr):
        serve, preload, names = serve_flags(), preload_flags(), registered()
    engine = version("vllm").partition("+")[0]
    more = {flag: row for flag, row in preload.items() if flag not in serve}
    parts = [f'"engine": "vllm", "version": {json.dumps(engine)}']
    parts += [f"{json.dumps(name)}: {json.dumps(values)}" for name, values in names.items()]
    print("{\n" + ",\n".join([*parts, table("preload_flags", more), table("flags", serve)]) + "\n}")


if __name__ == "__main__":
    main()
