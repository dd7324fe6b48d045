"""``rigfit estimate``: one deployment on one engine, no search."""

from __future__ import annotations

import gc
from argparse import Namespace
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from tools.errors import NotYetExact
from ui.arguments import Parser
from ui.output import chosen_language, columns, each_row, print_batch, print_json, print_lines, read_rows

if TYPE_CHECKING:
    from tools.vram.exact import Exact

ABOUT = "Compute what one deployment takes on each card; no search."
EXAMPLE = 'rigfit estimate Qwen/Qwen3-30B-A3B@fp8 --gpu "RTX PRO 6000" --max-num-seqs 8'
_NUMBERS = {
    "gpu-count": "cards used",
    "gpu-total-bytes": "what the engine sees on a card",
    "tp": "tensor-parallel ranks",
    "pp": "pipeline stages",
    "kv-cache-memory-bytes": "sets the cache pool outright",
    "max-model-len": "tokens a sequence may have",
    "max-num-seqs": "sequences at once",
    "max-num-batched-tokens": "tokens in one step",
}
_WORDS = {
    "config": "a folder with a config.json, instead of a model's name",
    "precision": "bf16, fp8, gptq-int4, awq, nvfp4, bnb-4bit, ...",
    "dtype": "type of unquantised weights",
    "gpu": "the card; without it no pool is computed",
    "vram": "memory of an unnamed card, e.g. 98GB, or of the named one",
    "kv-cache-dtype": "auto or fp8",
    "engine": "vllm",
    "engine-version": "e.g. 0.32.0",
    "engine-generation": "V0 or V1",
    "extra-flags": "more engine flags, as text",
}
_SWITCHES = {"ep": "expert parallel", "enforce-eager": "no CUDA graphs"}
SELDOM = 100_000
"""Objects made between two searches for cycles in a batch: there are next to none, and looking takes time."""
_NOT_ASKED = {"batch", "json", "lang", "exact"}


def add_arguments(parser: Parser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", nargs="?", metavar="MODEL[@PRECISION]", help="name, alias or hub id")
    for name, about in _WORDS.items():
        parser.add(f"--{name}", about)
    for name, about in _NUMBERS.items():
        parser.add_number(f"--{name}", about)
    parser.add_argument("--gpu-memory-utilization", type=float, metavar="SHARE", help="share of the whole card")
    for name, about in _SWITCHES.items():
        parser.add_argument(f"--{name}", action="store_true", default=None, help=about)
    parser.add_argument("--exact", action="store_true", default=None, help="ask vLLM's own code (after make vllm)")
    parser.add("--batch", "JSON lines with these names; - is standard input", metavar="FILE|-")
    parser.add_output()


def run(arguments: Namespace) -> int:
    """Print the estimate.

    Raises:
        NotYetExact: the architecture is not covered; with ``--json`` its published bytes are printed all the same.
        ExactUnavailable: with ``--exact``, vLLM can't be asked.
        RequestError: the request can't be read or names something unknown.
    """
    language = chosen_language(arguments.lang)
    answer = Estimator(language, exact=bool(arguments.exact))
    if arguments.batch is not None:
        gc.set_threshold(SELDOM)
        print_batch(answer.rows(arguments.batch))
        return 0
    fields = {name: value for name, value in vars(arguments).items() if name not in _NOT_ASKED}
    given = {name: value for name, value in fields.items() if value is not None}
    try:
        result = answer.one(given)
    except NotYetExact:
        if arguments.json:
            print_json(answer.row(given))
        raise
    if arguments.json:
        print_json(result)
    else:
        print_lines(_human(result, language))
    return 0


class Estimator:
    """Answers requests from one pair of catalogues; ``exact`` puts them to vLLM's own code."""

    def __init__(self, language: str, *, exact: bool = False) -> None:
        from tools.specs.gpus import GpuCatalogue
        from ui.catalogue import open_exact, open_measured, open_models

        self._exact = open_exact() if exact else None
        self._models, self._gpus, self._language = open_models(), GpuCatalogue.load(), language
        self._measured = open_measured()

    def one(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Answer a request.

        Raises:
            RequestError: it can't be read or names something unknown.
        """
        from tools.vram.calibration import with_measured
        from tools.vram.estimate import estimate
        from tools.vram.report import footprint_json
        from tools.vram.request import deployment_from_request

        if self._exact:
            return self._one_exact(fields, self._exact)
        asked = deployment_from_request(fields, self._models, self._gpus)
        gpu = with_measured([asked.gpu], self._measured)[0] if asked.gpu else None
        footprint = estimate(asked.deployment, gpu)
        return footprint_json(footprint, request_id=asked.id, assumptions=asked.assumptions, language=self._language)

    def _one_exact(self, fields: dict[str, Any], exact: Exact) -> dict[str, Any]:
        from tools.vram.exact_requests import asked, exact_one
        from tools.vram.report import footprint_json

        found = asked(fields, self._models, self._gpus, self._measured)
        notes = found.request.assumptions
        return footprint_json(exact_one(found, exact), assumptions=notes, language=self._language)

    def rows(self, path: str) -> Iterable[dict[str, Any]]:
        """Answer a batch: row by row, or all together where vLLM is asked."""
        if self._exact is None:
            return each_row(path, self.row, self._language)
        from tools.vram.exact_requests import exact_rows

        catalogues = self._models, self._gpus
        return exact_rows(list(read_rows(path)), catalogues, self._exact, self._language, self._measured)

    def row(self, fields: dict[str, Any]) -> dict[str, Any]:
        """Answer a batch row; one that can't be answered whole keeps what is known, such as published bytes."""
        from tools.vram.request import answer_request

        return answer_request(fields, self._models, self._gpus, self._language, self._measured)


def _human(result: dict[str, Any], language: str) -> list[str]:
    from prompts import text
    from tools.units import gib

    def row(name: str, size: float | None) -> list[tuple[str, str]]:
        return [] if size is None else [(text(language, f"cli.{name}"), gib(size, 2))]

    def value(field: str) -> float | None:
        band = result.get(field)
        return band["value"] if band else None

    lines = [f"{result['model']}  {result['precision']}"]
    rows = [
        *row("parameters", result["parameter_bytes_per_gpu"]),
        *row("weights", result["weights_bytes_per_gpu"]),
        *row("kv_pool", value("kv_pool_bytes_per_gpu")),
        *row("activation", value("activation_bytes")),
        *row("graphs", value("cuda_graph_bytes")),
        *row("context", value("context_bytes")),
        *row("total", result["total_bytes_per_gpu"]),
    ]
    lines += columns(rows)
    if result["kv_bytes_per_token_per_gpu"]:
        lines.append("  " + text(language, "cli.kv_per_token", bytes=result["kv_bytes_per_token_per_gpu"]))
    if result["kv_pool_tokens"] is not None:
        lines.append("  " + text(language, "cli.pool_tokens", tokens=result["kv_pool_tokens"]))
    if result["verdict"]:
        lines.append(text(language, f"cli.verdict_{result['verdict']}"))
    return lines + [f"- {line}" for line in result["assumptions"]]
