"""What Rigfit knows of a repository, as the stand-in hub serves it: its config, and a header of its tensors.

Names of tensors are Rigfit's own, experts are stacked and fused projections are one tensor; dtypes and bytes are the
checkpoint's. Where the size of the published files is known, one more tensor makes up what the layers do not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from tools.domain import Checkpoint, ModelSpec, Quantization, Ranks
from tools.errors import RigfitError
from tools.specs.models import ModelCatalogue
from tools.specs.packed import unpacked
from tools.vram.stages import stages
from tools.vram.storage import Matrix
from tools.vram.storage.rules import tensor_sizes
from tools.vram.weights import element_bytes, matrices_of, parameter_bytes

from .hub import Repository, Tensor

OUTSIDE = {"embed_tokens", "lm_head"}
_WHOLE = {1: "F8_E4M3", 2: "BF16", 4: "F32"}
_STORED = {
    "fp8_block": ("F8_E4M3", "F32"),
    "fp8_tensor": ("F8_E4M3", "F32"),
    "fp8_channel": ("F8_E4M3", "F32"),
    "int8": ("I8", "F32"),
    "gptq": ("I32", "F16"),
    "awq": ("I32", "F16"),
    "w4a16": ("I32", "BF16"),
    "w8a16": ("I32", "BF16"),
    "nvfp4": ("U8", "F8_E4M3"),
}
"""By method: the dtype of packed weights, and of what belongs to them; others are stored as bytes."""
_WIDTH = {"F8_E4M3": 1, "I8": 1, "U8": 1, "BF16": 2, "F16": 2, "I32": 4, "F32": 4}


def repository_of(name: str, models: ModelCatalogue) -> Repository | None:
    """Return what is to be served under a name; None where the catalogue does not know it."""
    try:
        spec = models.find(name).spec
    except RigfitError:
        return None
    checkpoint = next((one for one in spec.checkpoints if one.repo.lower() == name.lower()), spec.checkpoints[0])
    facts = models.facts(spec.name)
    config = served_config(facts, checkpoint)
    return Repository(name, config, tuple(tensors_of(spec, checkpoint)), spec.params_total)


def served_config(facts: Mapping[str, Any], checkpoint: Checkpoint) -> dict[str, Any]:
    """The model's ``config.json`` with the checkpoint's own ``quantization_config``."""
    config: dict[str, Any] = unpacked(facts["config"])
    config.get("text_config", config).update(checkpoint.config_overrides)
    lines = {line["repo"].lower(): line.get("quantization_config") for line in facts.get("quantized", ())}
    stated = lines.get(checkpoint.repo.lower())
    if checkpoint.repo == facts["hf_id"]:
        stated = facts.get("quantization_config")
    declared = unpacked(stated) if stated else usual_config(checkpoint.quantization)
    return config | ({"quantization_config": declared} if declared else {})


def usual_config(q: Quantization) -> dict[str, Any] | None:
    """The ``quantization_config`` that writers of a format declare, where the catalogue has only the format."""
    grouped = {"group_size": q.group_size, "sym": q.symmetric}
    declared: dict[str, dict[str, Any]] = {
        "fp8_block": {
            "quant_method": "fp8",
            "fmt": "e4m3",
            "weight_block_size": q.block,
            "activation_scheme": "dynamic",
        },
        "fp8_tensor": _compressed(q, 8, "float", "tensor", "float-quantized"),
        "fp8_channel": _compressed(q, 8, "float", "channel", "float-quantized"),
        "int8": _compressed(q, 8, "int", "channel", "int-quantized"),
        "w4a16": _compressed(q, 4, "int", "group", "pack-quantized"),
        "gptq": {"quant_method": "gptq", "bits": int(q.bits), "desc_act": q.desc_act, **grouped},
        "awq": {"quant_method": "awq", "bits": 4, "group_size": q.group_size, "zero_point": True, "version": "gemm"},
        "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "ignore": list(q.excluded)},
        "mxfp4": {"quant_method": "mxfp4", "modules_to_not_convert": list(q.excluded)},
        "bnb_nf4": {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "bnb_int8": {"quant_method": "bitsandbytes", "load_in_8bit": True},
    }
    return declared.get(q.method)


def _compressed(q: Quantization, bits: int, kind: str, strategy: str, form: str) -> dict[str, Any]:
    weights = {"num_bits": bits, "type": kind, "strategy": strategy, "group_size": q.group_size}
    groups = {"group_0": {"targets": ["Linear"], "weights": weights}}
    return {"quant_method": "compressed-tensors", "format": form, "config_groups": groups, "ignore": list(q.excluded)}


def tensors_of(spec: ModelSpec, checkpoint: Checkpoint) -> Iterator[Tensor]:
    """Yield the tensors of a checkpoint; where its layers are not known, one of the files' size."""
    held = 0
    try:
        total = parameter_bytes(spec, checkpoint)
        for tensor in _layers(spec, checkpoint):
            held += tensor.bytes
            yield tensor
    except RigfitError:
        total = spec.published_bytes or 0
    rest = max(checkpoint.file_bytes or total, held) - held
    if rest > 1:
        yield Tensor("model.rest.weight", "BF16", (rest // 2,))


def _layers(spec: ModelSpec, checkpoint: Checkpoint) -> Iterator[Tensor]:
    seen: Counter[str] = Counter()
    width = element_bytes(checkpoint.dtype)
    for matrix, quantization, times in matrices_of(spec, checkpoint, Ranks(), stages(spec, 1)[0]):
        if matrix.name == "embed_tokens" and spec.tied_embeddings and seen[matrix.name]:
            continue
        for _ in range(times):
            place = "model." if matrix.name in OUTSIDE else f"model.layers.{seen[matrix.name]}."
            seen[matrix.name] += 1
            yield from _stored(place + matrix.name, matrix, quantization, width)


def _stored(name: str, matrix: Matrix, quantization: Quantization | None, width: int) -> Iterator[Tensor]:
    method = quantization.method if quantization else "none"
    weights, *others = tensor_sizes(matrix, quantization, width)
    if method == "none":
        shape = (matrix.experts,) * bool(matrix.experts) + (matrix.rows, matrix.inputs)
        yield Tensor(f"{name}.weight", _WHOLE[matrix.element_bytes or width], shape)
        kinds = _WHOLE[width], _WHOLE[width]
    else:
        kinds = _STORED.get(method, ("U8", "U8"))
        yield _flat(f"{name}.{'qweight' if kinds[0] == 'I32' else 'weight'}", kinds[0], weights)
    for index, size in enumerate(others):
        if size:
            yield _flat(f"{name}.scale_{index}", kinds[1], size)


def _flat(name: str, dtype: str, size: int) -> Tensor:
    if size % _WIDTH[dtype]:
        dtype = "U8"
    return Tensor(name, dtype, (size // _WIDTH[dtype],))
