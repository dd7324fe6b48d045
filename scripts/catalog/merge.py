"""Joins what the packages and the reviewed overrides say of each model into one row; pure, nothing is read here.

A model's config comes from the first of: an override, a literal ``config.json`` (its own or its quantised copy's), a
literal of a model with the same fields and the same published count, litgpt's description, the fields of the hub's
record completed by the family's class so that the count is the published one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from catalog.report import missing
from catalog.shorten import quantisation, shortened

from tools.specs.names import parse_name

Row = dict[str, Any]

FIELDS = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
    "moe_intermediate_size", "shared_expert_intermediate_size", "num_experts", "active_experts",
)  # fmt: skip
"""Fields of a hub record that tell structures apart."""

UNSTATED_CONTEXT = 4096
"""What a hub record says where the config states no context."""

LITGPT_FAMILIES = {"LLaMAMLP": "llama", "GptNeoxMLP": "gpt_neox"}

HEADS = 0.05
"""Share of a model that prediction heads may be (Qwen3.5-9B: 2.5 %, DeepSeek-V4-Flash-0731: 4.5 %)."""

WINDOW_OF_FIRST = {"mistral"}

UNPUBLISHED = ("transformers", "general knowledge")
"""How the source of a total begins that no publisher gave: agreeing with it verifies nothing."""

DTYPES = {"bfloat16": 2, "float16": 2, "float32": 4}


@dataclass(frozen=True)
class Sources:
    """Everything known before merging.

    Attributes:
        hub: the hub's records by id (llmfit), with the package's name and version, and their newest date.
        literal: literal ``config.json`` and ``hf_quant_config.json`` by id (aiconfigurator-core).
        described: litgpt's descriptions by id.
        models: the overrides' entry of each model of the catalogue, in any order.
        checkpoints: the overrides' entry of each quantised repository that needs one.
        names: package names with versions, by ``hub``, ``literal``, ``described``, ``counted``.
    """

    hub: Mapping[str, Mapping[str, Any]]
    literal: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any] | None]]
    described: Mapping[str, Mapping[str, Any]]
    models: Mapping[str, Mapping[str, Any]]
    checkpoints: Mapping[str, Mapping[str, Any]]
    names: Mapping[str, str]
    as_of: str = ""
    notes: list[str] = field(default_factory=list[str], compare=False)

    @cached_property
    def literals(self) -> dict[str, tuple[dict[str, Any], str]]:
        """Shortened literal configs and where each is from; a quantised copy's is its base's too."""
        found: dict[str, tuple[dict[str, Any], str]] = {}
        for repo, (config, _) in sorted(self.literal.items()):
            base = self.checkpoints.get(repo, {}).get("of", repo)
            source = self.names["literal"] + (f" ({repo})" if base != repo else "")
            if base == repo or base not in self.literal:
                found.setdefault(base, (shortened(config), source))
        for repo, entry in sorted(self.models.items()):
            if "config" in entry:
                found[repo] = (dict(entry["config"]), str(entry["source"]))
        return found

    @cached_property
    def by_fields(self) -> dict[tuple[Any, ...], list[str]]:
        """Models with a literal config, by their hub record's structure and count."""
        found: dict[tuple[Any, ...], list[str]] = {}
        for repo in sorted(self.literals):
            if repo in self.hub and self.hub[repo].get("num_hidden_layers"):
                found.setdefault(fingerprint(self.hub[repo]), []).append(repo)
        return found


def fingerprint(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Tell a hub record's structure: family and sizes."""
    family = str(record.get("architecture"))
    return (family, *(record.get(name) for name in FIELDS))


def neutral_fields(record: Mapping[str, Any]) -> dict[str, Any]:
    """Give a hub record's structural fields the neutral names of ``meta_counts``."""
    plain = ("num_hidden_layers", "hidden_size", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size")
    fields = {name: record[name] for name in plain if record.get(name)}
    width = record.get("moe_intermediate_size")
    if record.get("is_moe") and (record.get("num_experts") or 0) > 1:
        fields["experts"], fields["active"] = record["num_experts"], record["active_experts"]
        fields |= {"expert_width": width} if width else {}
        shared = record.get("shared_expert_intermediate_size")
        fields |= {"shared_width": shared} if shared else {}
    elif width:
        fields["width"] = width
    if (record.get("context_length") or 0) > UNSTATED_CONTEXT:
        fields["max_position_embeddings"] = record["context_length"]
    return fields


def from_litgpt(described: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Write litgpt's description of a Llama-like or GPT-NeoX model as a config; None for other families."""
    kind = LITGPT_FAMILIES.get(str(described["mlp_class_name"]))
    plain = not any(described.get(name) for name in ("n_expert", "norm_qk", "post_attention_norm", "latent_attention"))
    if kind is None or not plain or described.get("sliding_window_size"):
        return None
    kind = str(record.get("architecture") or kind)
    if kind not in {"llama", "mistral", "gpt_neox"}:
        return None
    config: dict[str, Any] = {
        "model_type": kind,
        "hidden_size": described["n_embd"],
        "intermediate_size": described["intermediate_size"],
        "max_position_embeddings": described["block_size"],
        "num_attention_heads": described["n_head"],
        "num_hidden_layers": described["n_layer"],
        "tie_word_embeddings": False,
        "vocab_size": record.get("vocab_size") or described["padded_vocab_size"],
    }
    if kind == "gpt_neox":
        return config | {"use_parallel_residual": described["parallel_residual"]}
    bias = bool(described["bias"])
    return config | {
        "attention_bias": bias,
        "head_dim": described["head_size"],
        "mlp_bias": bias,
        "num_key_value_heads": described["n_query_groups"],
    }


def config_of(repo: str, sources: Sources) -> tuple[dict[str, Any] | None, str, str, str | None]:
    """Find a model's config.

    Returns:
        (config or None, how, source, the model it was taken from or None); ``how`` is ``literal``, ``like``,
        ``same-fields``, ``litgpt``, or ``solve`` where the family's class has to complete the hub's record.
    """
    entry = sources.models.get(repo, {})
    if repo in sources.literals:
        config, source = sources.literals[repo]
        return config, str(entry.get("how", "literal")), source, None
    if "like" in entry:
        other, _, source, _ = config_of(str(entry["like"]), sources)
        return other, "like", source, str(entry["like"])
    record = sources.hub.get(repo)
    same = same_fields(record, sources) if record and record.get("num_hidden_layers") else None
    if record and same:
        config, source = sources.literals[same]
        return with_context(config, record), "same-fields", source, same
    if repo in sources.described:
        config = from_litgpt(sources.described[repo], record or {})
        if config:
            return config, "litgpt", sources.names["described"], None
    return None, "solve", sources.names["hub"], None


def same_fields(record: Mapping[str, Any], sources: Sources) -> str | None:
    """Find the model with a literal config whose hub record has the same sizes and nearly the same count.

    A count may differ by prediction heads that one of them stores and the other leaves out, and be lower where packed
    elements of a natively quantised family were counted.
    """
    total = record.get("parameters_raw") or 0
    best: tuple[float, str] | None = None
    for repo in sources.by_fields.get(fingerprint(record), ()):
        whole = sources.hub[repo].get("parameters_raw") or 0
        packed = whole > total and quantisation(*sources.literal.get(repo, ({}, None))) is not None
        off = abs(whole - total) / max(total, 1)
        if (off <= HEADS or packed) and (best is None or (off, repo) < best):
            best = off, repo
    return best[1] if best else None


def native_quantisation(repo: str, sources: Sources, how: str, other: str | None) -> dict[str, Any] | None:
    """Return a model's own quantisation: stated, or that of the model whose config it shares field by field."""
    if repo in sources.literal:
        return quantisation(*sources.literal[repo])
    if how == "same-fields" and other and other in sources.literal and not parse_name(repo).quant:
        return quantisation(*sources.literal[other])
    return sources.models[repo].get("quantization_config")


def with_context(config: dict[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sibling's config with the context that the hub states for the model itself."""
    said = record.get("context_length") or 0
    inner = config.get("text_config")
    if said <= UNSTATED_CONTEXT or "max_position_embeddings" not in (inner or config):
        return config
    if inner:
        return config | {"text_config": inner | {"max_position_embeddings": said}}
    return config | {"max_position_embeddings": said}


def request(repo: str, sources: Sources) -> Row | None:
    """Return what to ask ``meta_counts`` about a model, or None where nothing can be asked."""
    config, how, _, _ = config_of(repo, sources)
    record = sources.hub.get(repo, {})
    if config is not None:
        return {"id": repo, "config": config}
    if how == "solve" and record.get("num_hidden_layers"):
        total = sources.models[repo].get("params_total") or record["parameters_raw"]
        return {"id": repo, "model_type": record["architecture"], "fields": neutral_fields(record), "total": total}
    return None


def rows(sources: Sources, answers: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Write every model's row, most downloaded first."""
    made = [row(repo, sources, answers) for repo in sources.models]
    return sorted(made, key=lambda line: (-line["hub_downloads"], line["hf_id"].lower(), line["hf_id"]))


def root(repo: str, sources: Sources) -> str:
    """Follow ``like`` to the model whose config is asked about."""
    entry = sources.models.get(repo, {})
    return root(str(entry["like"]), sources) if "like" in entry else repo


def row(repo: str, sources: Sources, answers: Mapping[str, Mapping[str, Any]]) -> Row:
    """Write a model's row from its sources and the count that transformers gave."""
    entry, record = sources.models[repo], sources.hub.get(repo, {})
    config, how, source, other = config_of(repo, sources)
    answer = answers.get(root(repo, sources), {})
    total = entry.get("params_total") or record.get("parameters_raw")
    verdict = verification(answer, total)
    if config is None:
        solved = verdict == "exact" or verdict == "exact, with the tied head stored too"
        config = family_facts(shortened(answer["config"]) if solved else partial(record))
        how = ("like" if other else "solved" if answer["switches"] else "counted") if solved else "partial"
        source += f" fields; {sources.names['counted']} class defaults" if solved else ""
    quant = native_quantisation(repo, sources, how, other)
    kept = {
        "hf_id": repo,
        "config": config,
        "quantization_config": quant,
        "params_total": total,
        "params_source": sources.names["hub"] if "params_total" not in entry else entry.get("params_source"),
        "params_counted": answer.get("count"),
        "verification": verdict,
        "how": how,
        "arch_from": other,
        "source": source,
        "as_of": sources.as_of,
        "complete": how != "partial",
        "license": record.get("license"),
        "release_date": record.get("release_date"),
        "hub_downloads": record.get("hf_downloads") or 0,
    }
    kept |= {key: value for key, value in entry.items() if key not in {"config", "source", "like", "how"}}
    if str(kept["params_source"]).startswith(UNPUBLISHED):
        kept["verification"] = verification(answer, None)
    kept |= weights(kept) | reviewed(kept, sources)
    if how == "partial":
        kept["unknown"] = missing(kept) or ["config.json"]
    return {key: value for key, value in kept.items() if value is not None and value != []}


def reviewed(kept: Mapping[str, Any], sources: Sources) -> Row:
    """Say of a config from general knowledge whether its count is the published one; otherwise it needs a review.

    A row that takes such a config over from another model is as uncertain as that one, unless its own count agrees.
    """
    origin = kept["hf_id"]
    while origin and sources.models.get(origin, {}).get("how") != "recalled":
        origin = config_of(origin, sources)[3]
    if not origin:
        return {}
    exact = kept["verification"].startswith("exact")
    told = f"{kept['source']}; " + ("parameter count equals the published total" if exact else "unverified")
    return {"source": told} if exact else {"source": told, "needs_review": True}


def family_facts(config: dict[str, Any]) -> dict[str, Any]:
    """Correct class defaults by what every literal config of the family says.

    Mistral's window of 4,096 tokens is v0.1's alone; Qwen3.5 and its successors keep states in float32.
    """
    text = config.get("text_config") or config
    if str(text.get("model_type")).startswith("qwen3_5"):
        text["mamba_ssm_dtype"] = "float32"
    if text.get("model_type") in WINDOW_OF_FIRST:
        text["sliding_window"] = None
    return config


def partial(record: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what a hub record states of a model whose structure is not known wholly."""
    fields = neutral_fields(record)
    names = {"width": "intermediate_size", "expert_width": "moe_intermediate_size", "experts": "num_experts"}
    names |= {"active": "num_experts_per_tok", "shared_width": "shared_expert_intermediate_size"}
    return {"model_type": str(record.get("architecture") or "unknown")} | {
        names.get(key, key): value for key, value in fields.items()
    }


def verification(answer: Mapping[str, Any], total: int | None) -> str:
    """Say how transformers' count of a config agrees with the published total."""
    if "count" not in answer:
        return "not counted: " + str(answer.get("error", "no config"))[:120]
    counted, tied = answer["count"], answer.get("tied") or 0
    if not total:
        return "no published count"
    if counted == total:
        return "exact"
    if tied and counted + tied == total:
        return "exact, with the tied head stored too"
    return f"counts {counted} ({(counted - total) / total:+.2%})"


def weights(kept: Mapping[str, Any]) -> Row:
    """State an unquantised checkpoint's bytes: published parameters x bytes of their type."""
    if kept.get("weights_bytes") or kept.get("quantization_config") or not kept.get("params_total"):
        return {}
    config = kept["config"]
    stated = config.get("dtype") or config.get("torch_dtype") or config.get("text_config", {}).get("dtype")
    size = DTYPES.get(str(stated or "bfloat16"), 2)
    told = {"weights_bytes": kept["params_total"] * size, "weights_bytes_source": f"published params x {size} bytes"}
    return told if stated else told | {"dtype_assumed": True}
