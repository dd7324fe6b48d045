"""Ask vLLM's own code about command lines: a script for the interpreter of vLLM's environment, never imported.

Reads JSON lines ``{"words": ["vllm", "serve", REPO, ...], "config": {...}, "quant_config": {...}, "capability": "8.6",
"memory_bytes": 1}`` from standard input and answers each with one line: ``{"ok": true, "resolved": {...}}`` or
``{"ok": false, "step": "parser" | "server" | "engine", "error": "..."}``. The steps are vLLM's parser, what its server
checks at its start, and ``EngineArgs.create_engine_config()`` on a pretended card of that capability. Without a
``config`` the last step is left out, for it reads the model's files.
"""

# pyright: basic, reportMissingImports=false
from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

PROBE = Path(__file__).parents[2] / "tools" / "vram"
sys.path.insert(0, str(PROBE))

import pretended  # noqa: E402
import probe  # noqa: E402

sys.path.remove(str(PROBE))


class Refused(Exception):
    """vLLM does not take a command line; the first argument is the step."""


def parsers() -> dict[str, Any]:
    from vllm.entrypoints.cli.preload import PreloadSubcommand
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    preload = FlexibleArgumentParser(prog="vllm preload")
    PreloadSubcommand.add_cli_args(preload)
    return {"serve": make_arg_parser(FlexibleArgumentParser(prog="vllm serve")), "preload": preload}


def parsed(parser: Any, words: list[str]) -> Any:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return parser.parse_args(words[2:])
    except SystemExit:
        raise Refused("parser", said.getvalue().strip().splitlines()[-1]) from None


def checked_by_server(found: Any) -> None:
    from vllm.entrypoints.launchers.cli_args import validate_parsed_serve_args
    from vllm.entrypoints.launchers.launcher import validate_api_server_args
    from vllm.parser.parser_manager import ParserManager

    try:
        validate_parsed_serve_args(found)
        validate_api_server_args(found)
        ParserManager.get_reasoning_parser(found.reasoning_parser)
        ParserManager.get_tool_parser(found.tool_call_parser, found.enable_auto_tool_choice)
    except (KeyError, TypeError, ValueError) as error:
        raise Refused("server", str(error)) from error


def pretend(capability: str, memory_bytes: int, memory: list[int]) -> None:
    """Change the card that vLLM believes in."""
    from vllm import platforms  # pyright: ignore[reportAttributeAccessIssue]
    from vllm.platforms.interface import DeviceCapability

    major, _, minor = capability.partition(".")
    seen = DeviceCapability(int(major), int(minor or 0))
    card = type(platforms._current_platform)  # pyright: ignore[reportAttributeAccessIssue]
    card.get_device_capability = staticmethod(lambda *_, **__: seen)
    card.is_cumem_allocator_available = staticmethod(lambda: True)
    memory[0] = memory_bytes


def engine(found: Any, case: dict[str, Any], folder: str) -> dict[str, Any]:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.platforms import current_platform
    from vllm.usage.usage_lib import UsageContext

    config = dict(case["config"])
    probe.register_type(config)
    Path(folder, "config.json").write_text(json.dumps(config))
    if case.get("quant_config"):
        Path(folder, "hf_quant_config.json").write_text(json.dumps(case["quant_config"]))
    found.model, found.revision = folder, None
    # there is no tokenizer; the parser of thoughts, which the server has checked, would read it
    found.skip_tokenizer_init, found.reasoning_parser = True, ""
    try:
        built = EngineArgs.from_cli_args(found).create_engine_config(UsageContext.OPENAI_API_SERVER)
        current_platform.check_if_supports_dtype(built.model_config.dtype)  # as a worker does
    except Exception as error:
        raise Refused("engine", f"{type(error).__name__}: {' '.join(str(error).split())[:500]}") from error
    return {
        "max_model_len": built.model_config.max_model_len,
        "dtype": str(built.model_config.dtype).removeprefix("torch."),
        "quantization": built.model_config.quantization,
        "sleep": built.model_config.enable_sleep_mode,
        "tp": built.parallel_config.tensor_parallel_size,
        "cache_dtype": built.cache_config.cache_dtype,
        "pool_bytes": built.cache_config.kv_cache_memory_bytes,
        "seqs": built.scheduler_config.max_num_seqs,
    }


def answer(case: dict[str, Any], known: dict[str, Any], memory: list[int]) -> dict[str, Any]:
    words = case["words"]
    try:
        with tempfile.TemporaryDirectory() as folder:
            found = parsed(known[words[1]], words)
            if words[1] == "serve":
                checked_by_server(found)
            if not case.get("config"):
                return {"ok": True, "resolved": None}
            pretend(case["capability"], case["memory_bytes"], memory)
            return {"ok": True, "resolved": engine(found, case, folder)}
    except Refused as refused:
        return {"ok": False, "step": refused.args[0], "error": refused.args[1]}


def main() -> None:
    for name, value in {"HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR", "VLLM_NO_USAGE_STATS": "1"}.items():
        os.environ.setdefault(name, value)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    with tempfile.TemporaryDirectory() as scratch:
        tempfile.tempdir = scratch
        os.environ.setdefault("VLLM_CACHE_ROOT", scratch)
        _, memory = pretended.set_up("9.0")
        known = parsers()
        for line in sys.stdin:
            answers.write(json.dumps(answer(json.loads(line), known, memory)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
