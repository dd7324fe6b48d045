"""From a hub's ``config.json`` to what the catalogue keeps of it: structural fields, long lists in short form."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, cast

_DROPPED = re.compile(
    r"_name_or_path|.*transformers_version|auto_map|(?!num_experts_per).*_token(_id|_ids|_index)?|.*_token_id_list|initializer.*|.*_initializer_range|"
    r".*dropout.*|use_cache|.*pdrop|pretraining_tp|.*aux_loss.*|output_.*|return_.*|id2label|label2id|task_specific_params|"
    r"problem_type|finetuning_task|.*_loss_.*|chunk_size_feed_forward|is_encoder_decoder|is_decoder|add_cross_attention|"
    r"cross_attention_hidden_size|tf_legacy_loss|torchscript|use_bfloat16|pruned_heads|prefix|tokenizer_class|num_beams|"
    r"num_beam_groups|num_return_sequences|max_length|min_length|do_sample|early_stopping|temperature|top_p|typical_p|top_k|"
    r".*penalty|no_repeat_ngram_size|encoder_no_repeat_ngram_size|bad_words_ids|suppress_tokens|begin_suppress_tokens|"
    r"decoder_start_token_id|rms_norm_eps|layer_norm_eps.*|norm_eps|layernorm_epsilon|.*_norm_epsilon|_attn.*|"
    r".*_coef|scoring_func|topk_method|norm_topk_prob|routed_scaling_factor|n_group|topk_group|seq_aux|ep_size|"
    r"time_step_.*|.*_implementation|language|use_flash_attn|_commit_hash|exponential_.*|use_return_dict|mamba_chunk_size|"
    r"diversity_penalty|remove_invalid_values|forced_.*|sep_token_id|_diffusers.*|unsloth.*|quantization_status|global_compression_ratio"
)
"""Fields without a say in memory: ids of tokens, training, sampling, epsilons, names."""

_NEVER_QUANTISED = re.compile(
    r".*(norm|bias|embed_tokens|embeddings|conv1d|rotary_emb|layernorm\d?|\.A_log|\.D|dt_bias)\*?"
)
"""Modules that no engine quantises; naming them among the exclusions changes nothing."""

_NAME_LISTS = {
    "ignore", "exclude_modules", "modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules", "targets",
    "modules_in_block_to_quantize", "exclude_layers",
}  # fmt: skip


def shortened(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the structural fields of a ``config.json``, nested as there, in the order of their names.

    Quantisation is left out: it belongs to a checkpoint (see ``quantisation``).
    """
    kept: dict[str, Any] = {}
    for key in sorted(config):
        if _DROPPED.fullmatch(key) or key in {"quantization_config", "compression_config"}:
            continue
        value = config[key]
        if isinstance(value, Mapping):
            inner = shortened(cast("Mapping[str, Any]", value))
            if inner:
                kept[key] = inner
        else:
            kept[key] = packed(value)
    return kept


def quantisation(config: Mapping[str, Any], separate: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
    """Return a checkpoint's quantisation in short form, or None where it has none.

    Args:
        config: the fields of ``config.json``.
        separate: the fields of ``hf_quant_config.json``, which then decide.
    """
    stated = (separate or {}).get("quantization") or _stated(config)
    if not isinstance(stated, Mapping) or not stated:
        return None
    stated = cast("dict[str, Any]", dict(stated))
    if separate:
        stated.setdefault("quant_method", "modelopt")
    return _quantisation(stated)


def _stated(config: Mapping[str, Any]) -> Any:
    for holder in (config, config.get("text_config") or {}):
        for key in ("quantization_config", "compression_config"):
            if holder.get(key):
                return holder[key]
    return None


def _quantisation(stated: Mapping[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key in sorted(stated):
        value = stated[key]
        if key in {"producer", "version", "quantized_by", "transform_config", "sparsity_config"} or _DROPPED.fullmatch(
            key
        ):
            continue
        if key == "quantized_layers" and isinstance(value, Mapping):
            kept[key] = by_algorithm(cast("Mapping[str, Mapping[str, Any]]", value))
        elif key in _NAME_LISTS and isinstance(value, list):
            kept[key] = names(name for name in cast("list[str]", value) if not _NEVER_QUANTISED.fullmatch(str(name)))
        elif isinstance(value, Mapping):
            kept[key] = _quantisation(cast("Mapping[str, Any]", value))
        elif value is not None:
            kept[key] = packed(value)
    return kept


def by_algorithm(layers: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Group ModelOpt's per-layer formats: one entry a format, with the names that have it.

    Returns:
        ``[{"quant_algo": "FP8", "modules": {"names": [...]}}]``, a layer's first expert standing for all of them.
    """
    grouped: dict[tuple[tuple[str, Any], ...], set[str]] = defaultdict(set)
    for name, how in layers.items():
        module = re.sub(r"\.experts\.\d+\.", ".experts.0.", name)
        grouped[tuple(sorted(how.items()))].add(module)
    found = [{**dict(how), "modules": names(modules)} for how, modules in grouped.items()]
    return sorted(found, key=str)


def packed(value: Any) -> Any:
    """Write a list of at least 8 plain entries as a period or as runs where that is shorter."""
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    if len(items) < 8 or any(isinstance(item, list | dict) for item in items):
        return items
    for length in range(1, len(items) // 2 + 1):
        times, rest = divmod(len(items), length)
        if not rest and items == items[:length] * times:
            return {"period": items[:length], "times": times}
    runs: list[list[Any]] = []
    for item in items:
        if runs and runs[-1][0] == item and type(runs[-1][0]) is type(item):
            runs[-1][1] += 1
        else:
            runs.append([item, 1])
    return {"runs": runs} if 2 * len(runs) < len(items) else items


def names(listed: Iterable[str]) -> Any:
    """Write names that differ in one number as templates, in the order of the templates."""
    groups: dict[str, set[int]] = defaultdict(set)
    plain: set[str] = set()
    for name in listed:
        found = re.search(r"(?<=\.)\d+(?=\.|\*|$)", name)
        if found is None or "{" in name:
            plain.add(name)
        else:
            groups[name[: found.start()] + "{}" + name[found.end() :]].add(int(found.group()))
    templates = [template.replace("{}", "{" + _spans(sorted(numbers)) + "}", 1) for template, numbers in groups.items()]
    return {"names": sorted(templates + sorted(plain))} if templates else sorted(plain)


def _spans(numbers: list[int]) -> str:
    spans: list[list[int]] = []
    for number in numbers:
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in spans)
