"""Which of vLLM's parsers read a model's thoughts and tool calls: by the table ``data/parsers.toml``."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from tools.domain import Deployment

_FILE = os.path.join(os.path.dirname(os.path.dirname(__file__)), "data", "parsers.toml")


class Parsers(NamedTuple):
    """Names for ``--reasoning-parser`` and ``--tool-call-parser``, and where they were read; empty = none."""

    reasoning: str = ""
    tools: str = ""
    source: str = ""


def parsers_for(deployment: Deployment) -> Parsers:
    """Return the parsers of a deployment's model, none for a model that the table does not list.

    A base model, an embedding model and a fine-tune under a name of its own get none: their words are not in the table.

    Example:
        ``Qwen/Qwen3-30B-A3B`` and its quantised repositories: ``reasoning="qwen3", tools="hermes"``.
    """
    checkpoint = deployment.checkpoint
    name = checkpoint.repo if checkpoint.sibling_of else deployment.model.name
    return _table().get((deployment.model.model_type, words_of(name)), Parsers())


def words_of(name: str) -> frozenset[str]:
    """Return the words of a model's name that tell its family: no publisher, size, date or word of quantisation.

    Example:
        ``words_of("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8") == {"qwen3", "instruct"}``.
    """
    return frozenset(
        word for word in re.split(r"[^a-z0-9.]+", name.rpartition("/")[2].lower()) if not _NEUTRAL.fullmatch(word)
    )


_NEUTRAL = re.compile(
    r"|\d+(\.\d+)?[bmt]|[ae]\d+(\.\d+)?[bm]|\d+e|\d{4}"  # sizes, active and effective sizes, experts, dates
    r"|bf16|fp16|fp8|fp4|nvfp4|mxfp4|mxfp8|int[48]|[48]bit|(quantized\.)?w\d+a\d+|awq|gptq|gptqmodel|autoround|bnb"
    r"|quantized|dynamic|block|g\d+|hf"
)


@cache
def _table() -> Mapping[tuple[str, frozenset[str]], Parsers]:
    with open(_FILE, "rb") as file:
        families = tomllib.load(file)["family"]
    return {
        (kind, frozenset(name.split())): Parsers(row.get("reasoning", ""), row.get("tools", ""), row["source"])
        for row in families
        for kind in row["types"]
        for name in row["names"]
    }
