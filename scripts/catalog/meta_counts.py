"""Counts parameters with transformers' own model code on the meta device: no weights, no GPU.

Run by an interpreter that has ``torch`` and ``transformers``; a JSON line in, a JSON line out:

- ``{"id", "config"}`` asks what a literal config holds: ``{"id", "count", "tied"}`` or ``{"id", "error"}``;
- ``{"id", "model_type", "fields", "total"}`` asks for the config of that family with those fields, its class filling in
  what they leave out, whose count is ``total``: ``{"id", "config", "count", "switches"}``. Where none counts so, the
  nearest is given. ``fields`` has neutral names (``width``, ``experts``, ``active``, ``shared_width``, and the usual
  ones); the class tells what it calls them.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
from collections.abc import Iterator
from typing import Any

os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

SPELLINGS = {
    "experts": ("n_routed_experts", "num_local_experts", "num_experts", "moe_num_experts"),
    "active": ("num_experts_per_tok", "num_experts_per_token", "moe_topk", "moe_k", "top_k"),
    "width": ("intermediate_size", "ffn_dim", "n_inner", "ffn_hidden_size"),
    "expert_width": ("moe_intermediate_size", "intermediate_size"),
    "shared_width": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head"),
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "max_seq_len"),
}
SWITCHES = (
    "attention_bias",
    "use_qk_norm",
    "mlp_bias",
    "use_bias",
    "attention_out_bias",
    "use_qkv_bias",
    "lm_head_bias",
)
MAX_TURNED = 2


# pyright: reportMissingImports=false


def config_class(model_type: str) -> Any:
    """Return transformers' config class of a family, a text model's own where there is one.

    Raises:
        KeyError: transformers does not know the family.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return CONFIG_MAPPING[{"kimi_k2": "deepseek_v3"}.get(model_type, model_type)]


def count(config: Any) -> tuple[int, int]:
    """Return (parameters, those of a tied output head, counted once)."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText

    with torch.device("meta"):
        if type(config) in AutoModelForImageTextToText._model_mapping:
            model = AutoModelForImageTextToText.from_config(config)
        else:
            model = AutoModelForCausalLM.from_config(config)
    unique = {id(parameter): parameter.numel() for parameter in model.parameters()}
    head = model.get_output_embeddings()
    inner = model.get_input_embeddings()
    if head is None or inner is None or head.weight is not inner.weight:
        return sum(unique.values()), 0
    return sum(unique.values()), head.weight.numel()


def spelled(default: dict[str, Any], fields: dict[str, Any]) -> dict[str, Any]:
    """Give fields the names that a class uses."""
    named: dict[str, Any] = {}
    for key, value in fields.items():
        options = SPELLINGS.get(key, (key,))
        name = next((option for option in options if option in default), None)
        if name is not None:
            named[name] = value
    return named


def candidates(model_type: str, fields: dict[str, Any]) -> Iterator[tuple[dict[str, Any], Any]]:
    """Yield (switches turned, config): the class's habit first, then one or two switches turned."""
    kind = config_class(model_type)
    default = kind().to_dict()
    inner = default.get("text_config")
    known = inner if isinstance(inner, dict) else default
    named = spelled(known, fields)
    absent = [name for name in SWITCHES if isinstance(known.get(name), bool) and name not in named]
    tied = [None, True, False] if "tie_word_embeddings" not in fields else [None]
    turns = [pair for number in range(MAX_TURNED + 1) for pair in itertools.combinations(absent, number)]
    for turned in turns:
        for tie in tied:
            switched = {name: not known[name] for name in turned}
            if tie is not None:
                switched["tie_word_embeddings"] = tie
            own = {**named, **switched}
            if isinstance(inner, dict):
                outer = {"text_config": own}
                if tie is not None:
                    outer["tie_word_embeddings"] = tie
                yield switched, kind(**outer)
            else:
                yield switched, kind(**own)


def solved(request: dict[str, Any]) -> dict[str, Any]:
    """Find the config that counts as published, or the nearest."""
    total, best = request.get("total") or 0, None
    for switches, config in candidates(request["model_type"], request["fields"]):
        counted, tied = count(config)
        off = min(abs(counted - total), abs(counted + tied - total) if tied else total)
        if best is None or off < best[0]:
            best = (off, switches, config, counted, tied)
        if not total or off == 0:
            break
    assert best is not None
    _, switches, config, counted, tied = best
    fields = json.loads(config.to_json_string(use_diff=True))
    return {"id": request["id"], "config": fields, "count": counted, "tied": tied, "switches": switches}


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Answer one request; what transformers can not build is an error with its reason."""
    try:
        if "config" in request:
            kind = config_class(request["config"]["model_type"])
            counted, tied = count(kind.from_dict(request["config"]))
            return {"id": request["id"], "count": counted, "tied": tied}
        return solved(request)
    except Exception as reason:  # noqa: BLE001 - model code may fail in any way; the build goes on without this count
        return {"id": request["id"], "error": f"{type(reason).__name__}: {str(reason)[:200]}"}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line)), sort_keys=True), flush=True)
