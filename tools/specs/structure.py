"""A catalogue line as a ModelSpec: its layers, its checkpoints, and what must be said about its certainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Checkpoint, ModelSpec, Note, Provenance, Quantization, note
from tools.errors import BadValue, NotYetExact
from tools.specs.formats import FOUR_BIT, GGUF_BITS, by_word, from_repository_name
from tools.specs.names import quant_words
from tools.specs.packed import unpacked

Row = Mapping[str, Any]

_DTYPE_WORDS = {"float16": "fp16", "float32": "fp32"}


def spec_from_row(row: Row, overrides: Mapping[str, Any] | None = None) -> ModelSpec:
    """Build a model's description from its catalogue line.

    An architecture that is not covered exactly gives no layers and a ``not_exact`` note, with the catalogue's bytes.

    Args:
        row: the line.
        overrides: fields of the text model's config that differ in the checkpoint that is meant.
    """
    from tools.vram.architecture import spec_from_config

    config: dict[str, Any] = unpacked(row["config"])
    config.get("text_config", config).update(overrides or {})
    if row.get("quantization_config"):
        config["quantization_config"] = unpacked(row["quantization_config"])
    known: dict[str, Any] = {
        "params_total": row.get("params_total") or 0,
        "params_active": row.get("params_active"),
        "checkpoints": (_native(row, config), *_published(row, config), *_gguf(row)),
        "published_bytes": row.get("weights_bytes"),
        "license": row.get("license"),
        "release_date": row.get("release_date"),
        "source": row["source"],
        "status": tuple(_status(row, config)),
    }
    try:
        return spec_from_config(config, name=row["hf_id"], **known)
    except (NotYetExact, BadValue) as reason:
        return _without_layers(row, config, known, note(reason.code, **reason.params))


def has_four_bit(spec: ModelSpec) -> bool:
    """Tell whether a 4-bit checkpoint of the model itself is published that vLLM loads."""
    return any(c.precision in FOUR_BIT and c.sibling_of is None for c in spec.checkpoints)


def states_formats(row: Row) -> bool:
    """Tell whether a line has any quantised checkpoint that vLLM may load."""
    return bool(row.get("quantized") or row.get("quantization_config"))


def with_siblings(spec: ModelSpec, siblings: Iterable[ModelSpec]) -> ModelSpec:
    """Add the 4-bit checkpoints of the nearest sibling that has any and the same structure."""
    for sibling in siblings:
        if sibling.layers == spec.layers and has_four_bit(sibling):
            lent = (c for c in sibling.checkpoints if c.precision in FOUR_BIT)
            marked = tuple(replace(c, sibling_of=sibling.name) for c in lent)
            return replace(spec, checkpoints=(*spec.checkpoints, *marked))
    return spec


def _without_layers(row: Row, config: Row, known: Mapping[str, Any], why: Note) -> ModelSpec:
    text: Row = {**config, **(config.get("text_config") or {})}
    architectures = config.get("architectures") or [config["model_type"]]
    return ModelSpec(
        name=row["hf_id"],
        model_type=config["model_type"],
        architecture=architectures[0],
        hidden_size=text.get("hidden_size") or 0,
        vocab_size=text.get("vocab_size") or 0,
        tied_embeddings=bool(text.get("tie_word_embeddings")),
        max_context=text.get("max_position_embeddings") or 8192,
        layers=(),
        dtype=_dtype(config),
        not_exact=why,
        **known,
    )


def _dtype(config: Row) -> str:
    """Return the type that a config states, its text model's where only that states one."""
    inner: Row = config.get("text_config") or {}
    for fields in (config, inner):
        stated = fields.get("dtype") or fields.get("torch_dtype")
        if stated:
            return str(stated)
    return "bfloat16"


def _native(row: Row, config: Row) -> Checkpoint:
    dtype = _dtype(config)
    precision, quantization = _DTYPE_WORDS.get(dtype, "bf16"), Quantization()
    if row.get("quantization_config"):
        precision, quantization = _declared(row["quantization_config"])
    return Checkpoint(
        repo=row["hf_id"],
        precision=precision,
        quantization=quantization,
        dtype=dtype,
        file_bytes=row.get("weights_bytes"),
        file_provenance=_provenance(str(row.get("weights_bytes_source") or "")),
        source=row.get("weights_bytes_source") or row["source"],
        downloads=row.get("hub_downloads") or 0,
    )


def _declared(stored: Any) -> tuple[str, Quantization]:
    """Read a stored ``quantization_config``; one that is not known exactly gives its method's usual layout."""
    from tools.vram.checkpoint import precision_of, quantization_from_config

    declared: dict[str, Any] = unpacked(stored)
    try:
        quantization = quantization_from_config(declared)
    except (NotYetExact, BadValue):
        method = str(declared.get("quant_method"))
        return (method, by_word(method)) if method in {"mxfp4", "fp8"} else ("w4a16", by_word("w4a16"))
    return precision_of(quantization), quantization


def _provenance(source: str) -> Provenance:
    if "computed" in source or "x 2 bytes" in source:
        return "computed"
    return "published" if source else "estimated"


def _published(row: Row, config: Row) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for line in row.get("quantized", ()):
        if "quantization_config" in line:
            told = _declared(line["quantization_config"])
        else:
            told = from_repository_name(line["repo"], quant_words(line["repo"]))
        if told is None or line["repo"] == row["hf_id"]:
            continue
        told = told[0], _counted(told[1], line.get("elements"), row.get("params_total"))
        found.append(
            Checkpoint(
                repo=line["repo"],
                precision=told[0],
                quantization=told[1],
                dtype=_dtype(config),
                file_bytes=line.get("bytes"),
                file_provenance="published",
                source=line["source"],
                downloads=line.get("hub_downloads") or 0,
                config_overrides=line.get("config_overrides", {}),
            )
        )
    return found


NF4_COUNTED = 2 / 64 + 1 / 16384
"""Elements that the hub counts beyond a model's parameters for each weight in NF4: a one-byte maximum a block of 64,
which counts as two packed weights, and a float32 for each 256 of those (61 plain copies agree within 0.1 %)."""


def _counted(quantization: Quantization, elements: int | None, params: int | None) -> Quantization:
    """Note how many weights a bitsandbytes checkpoint quantises, as the hub's count of its elements tells."""
    if quantization.method != "bnb_nf4" or not elements or not params:
        return quantization
    weights = round((elements - params) / NF4_COUNTED)
    if not 0 < weights < params:
        return quantization
    return replace(quantization, extra={**quantization.extra, "weights": weights})


def _gguf(row: Row) -> list[Checkpoint]:
    """GGUF files whose size the catalogue states; other types of the same repositories are asked for by name."""
    found: list[Checkpoint] = []
    sizes: Mapping[str, Any] = row.get("gguf_sizes") or {}
    for repo, stated in sizes.items():
        for kind, size in cast("Mapping[str, int]", stated["sizes"]).items():
            if kind in GGUF_BITS:
                word = f"gguf-{kind}"
                found.append(
                    Checkpoint(repo, word, by_word(word), "float16", False, size, "published", stated["source"])
                )
    return found


def _status(row: Row, config: Row) -> list[Note]:
    """What an answer must carry about how sure the line is."""
    name = row["hf_id"]
    notes: list[Note] = []
    if row.get("needs_review"):
        notes.append(note("specs.needs_review", name=name))
    if not row.get("complete"):
        notes.append(note("specs.incomplete", name=name, missing=", ".join(row.get("unknown") or ["?"])))
    if row["how"] in {"like", "same-fields"}:
        notes.append(note("specs.from_sibling", name=name, sibling=row.get("arch_from") or "?"))
    elif row["how"] == "solved":
        notes.append(note("specs.solved", name=name))
    if row.get("dtype_assumed"):
        notes.append(note("specs.dtype_assumed", name=name, dtype=_dtype(config)))
    return notes
