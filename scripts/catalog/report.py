"""Tells what the rebuilt catalogue still lacks."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

NEEDED: dict[str, tuple[str, ...]] = {
    "mla": ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
    "indexer": ("index_topk", "index_head_dim", "index_n_heads"),
    "gated delta": ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim"),
    "mamba 2": ("n_groups", "ssm_state_size", "mamba_num_heads", "mamba_head_dim", "conv_kernel"),
    "mamba": ("mamba_d_state", "mamba_d_conv", "mamba_expand"),
    "short conv": ("conv_L_cache", "layer_types"),
    "per-layer input": ("hidden_size_per_layer_input", "num_kv_shared_layers"),
    "dense": ("intermediate_size",),
    "experts": ("num_experts_per_tok",),
}
"""Structural fields by kind of structure, in the usual spelling."""

FAMILIES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("deepseek_v2", "deepseek_v3", "glm4_moe_lite"), ("mla", "experts")),
    **dict.fromkeys(("kimi_k2", "kimi_k25", "kimi_vl"), ("mla", "experts")),
    **dict.fromkeys(("deepseek_v32", "glm_moe_dsa"), ("mla", "indexer", "experts")),
    **dict.fromkeys(("qwen3_next", "qwen3_5_moe"), ("gated delta", "experts")),
    "qwen3_5": ("gated delta", "dense"),
    "nemotron_h": ("mamba 2",),
    "falcon_h1": ("mamba", "dense"),
    "granitemoehybrid": ("mamba",),
    "jamba": ("mamba", "experts"),
    "lfm2": ("short conv",),
    "lfm2_moe": ("short conv", "experts"),
    "gemma3n": ("per-layer input",),
}
"""What rows need beside sizes; of families that are not named ``dense``, or nothing where they have experts."""

TOWERS = ("vision_config", "audio_config")


def text_of(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the text model's fields over the outer ones."""
    return {**config, **(config.get("text_config") or {}), "model_type": config.get("model_type")}


def missing(row: Mapping[str, Any]) -> list[str]:
    """Name the structural fields that a row lacks for its family."""
    text = text_of(row["config"])
    family = str(text["model_type"]).removesuffix("_text")
    kinds = FAMILIES.get(family, ("dense",) if not any("experts" in key for key in text) else ())
    wanted = ["num_hidden_layers", "hidden_size", "vocab_size", *(name for kind in kinds for name in NEEDED[kind])]
    lacking = [name for name in wanted if name not in text and not (name == "intermediate_size" and "ffn_dim" in text)]
    multimodal = family.endswith(("_vl", "_vision")) or "_mm" in family
    return lacking + (["vision_config"] if multimodal and not any(text.get(name) for name in TOWERS) else [])


def lacking(rows: Iterable[Mapping[str, Any]]) -> str:
    """List families with the fields that some of their rows lack, and an example of each."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    first: dict[tuple[str, str], str] = {}
    for row in rows:
        family = str(row["config"].get("model_type"))
        for name in missing(row):
            found[family][name] += 1
            first.setdefault((family, name), row["hf_id"])
    lines = [
        f"{family}: " + ", ".join(f"{name} {times} ({first[family, name]})" for name, times in counts.most_common())
        for family, counts in sorted(found.items())
    ]
    return "\n".join(lines)


def summary(rows: Iterable[Mapping[str, Any]]) -> str:
    """Count rows by where their config is from and how transformers' count agrees."""
    rows = list(rows)
    ways = Counter(str(row["how"]) for row in rows)
    said = [str(row["verification"]) for row in rows]
    agree = Counter("differs" if text.startswith("counts ") else text.split(":")[0] for text in said)
    return f"{len(rows)} rows; config: {dict(sorted(ways.items()))}; transformers: {dict(sorted(agree.items()))}"
