"""A catalogue line as a ModelSpec: its layers, its checkpoints, and what must be said about its certainty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from tools.domain import Checkpoint, ModelSpec, Note, Provenance, Quantization, note
from tools.errors import BadValue, NotYetExact
from tools.specs.formats import FOUR_BIT, GGUF_BITS, by_word, of_repository

Row = Mapping[str, Any]

_NATIVE_WORDS = {"mxfp4": "mxfp4", "fp8": "fp8", "fbgemm_fp8": "fp8"}
_DTYPE_WORDS = {"float16": "fp16", "float32": "fp32"}


def spec_from_row(row: Row) -> ModelSpec:
    """Build a model's description from its catalogue line.

    An architecture that is not covered exactly gives no layers and a ``not_exact`` note, with the catalogue's bytes.
    """
    from tools.vram.architecture import spec_from_config

    known: dict[str, Any] = {
        "params_total": row.get("params_total") or 0,
        "checkpoints": (_native(row), *_published(row), *_gguf(row)),
        "dtype": _dtype(row),
        "published_bytes": row.get("weights_bytes"),
        "license": row.get("license"),
        "release_date": row.get("release_date"),
        "source": row["source"],
        "status": tuple(_status(row)),
    }
    declared = {key: value for key, value in row.items() if key != "native_quantization"}
    try:
        return spec_from_config(declared, name=row["hf_id"], **known)
    except (NotYetExact, BadValue) as reason:
        return _without_layers(row, known, note(reason.code, **reason.params))


def has_four_bit(spec: ModelSpec) -> bool:
    """Tell whether a 4-bit checkpoint of the model itself is published that vLLM loads."""
    return any(c.precision in FOUR_BIT and c.sibling_of is None for c in spec.checkpoints)


def with_siblings(spec: ModelSpec, siblings: Iterable[ModelSpec]) -> ModelSpec:
    """Add the 4-bit checkpoints of the nearest sibling that has any and the same structure."""
    for sibling in siblings:
        if sibling.layers == spec.layers and has_four_bit(sibling):
            lent = (c for c in sibling.checkpoints if c.precision in FOUR_BIT)
            marked = tuple(replace(c, sibling_of=sibling.name) for c in lent)
            return replace(spec, checkpoints=(*spec.checkpoints, *marked))
    return spec


def _without_layers(row: Row, known: Mapping[str, Any], why: Note) -> ModelSpec:
    architectures = row.get("architectures") or [row["model_type"]]
    return ModelSpec(
        name=row["hf_id"],
        model_type=row["model_type"],
        architecture=architectures[0],
        params_active=row.get("params_active"),
        hidden_size=row.get("hidden_size") or 0,
        vocab_size=row.get("vocab_size") or 0,
        tied_embeddings=bool(row.get("tie_word_embeddings")),
        max_context=row.get("max_position_embeddings") or 8192,
        layers=(),
        not_exact=why,
        **known,
    )


def _dtype(row: Row) -> str:
    return row.get("dtype") or "bfloat16"


def _native(row: Row) -> Checkpoint:
    precision, quantization = _native_format(row)
    return Checkpoint(
        repo=row["hf_id"],
        precision=precision,
        quantization=quantization,
        dtype=_dtype(row),
        file_bytes=row.get("weights_bytes"),
        file_provenance=_provenance(str(row.get("weights_bytes_source") or "")),
        source=row.get("weights_bytes_source") or row["source"],
        downloads=row.get("hub_downloads") or 0,
    )


def _provenance(source: str) -> Provenance:
    if "computed" in source or "x 2 bytes" in source:
        return "computed"
    return "published" if source else "estimated"


def _native_format(row: Row) -> tuple[str, Quantization]:
    declared = row.get("native_quantization")
    if not declared:
        return _DTYPE_WORDS.get(_dtype(row), "bf16"), Quantization()
    method = str(declared.get("quant_method"))
    if method.startswith("int4"):
        return "w4a16", Quantization("w4a16", 4, 32, extra={"only": "experts"})
    if method == "fbgemm_fp8":
        return "fp8", Quantization("fp8_channel", 8, -1)
    block = declared.get("weight_block_size")
    if method == "fp8" and not block and row["hf_id"].split("/")[0] == "mistralai":
        return "fp8", Quantization("fp8_tensor", 8)
    return _NATIVE_WORDS.get(method, method), by_word(_NATIVE_WORDS.get(method, "bf16"))


def _published(row: Row) -> list[Checkpoint]:
    found: list[Checkpoint] = []
    for line in row.get("quantized", ()):
        told = of_repository(line["repo"], line.get("format"), line.get("bits"))
        if told is None or line["repo"] == row["hf_id"]:
            continue
        exact = line.get("bytes")
        found.append(
            Checkpoint(
                repo=line["repo"],
                precision=told[0],
                quantization=told[1],
                dtype=_dtype(row),
                file_bytes=exact or line.get("bytes_est"),
                file_provenance="published" if exact else "estimated",
                source=line.get("bytes_source") or line.get("bytes_est_method") or line["source"],
                downloads=line.get("hub_downloads") or 0,
            )
        )
    return found


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


def _status(row: Row) -> list[Note]:
    """What an answer must carry about how sure the line is."""
    name = row["hf_id"]
    notes: list[Note] = []
    if row.get("needs_review"):
        notes.append(note("specs.needs_review", name=name))
    if not row.get("complete"):
        notes.append(note("specs.incomplete", name=name, missing=", ".join(row.get("unknown") or ["?"])))
    if row["how"] in {"sibling", "sibling-declared"}:
        notes.append(note("specs.from_sibling", name=name, sibling=row.get("arch_from") or "?"))
    elif row["how"] == "solved-exact":
        notes.append(note("specs.solved", name=name))
    if row.get("dtype_assumed"):
        notes.append(note("specs.dtype_assumed", name=name, dtype=_dtype(row)))
    return notes
