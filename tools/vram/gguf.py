"""Bytes of a GGUF file from a model's structure: a type for each tensor, as llama.cpp's quantiser chooses them.

Facts from llama.cpp: ``ggml/src/ggml-common.h`` (bytes of a block) and ``src/llama-quant.cpp`` (which tensors of a
mixture get more or fewer bits). Llama-3.1-8B as Q4_K_M: 4.58 GiB of tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from tools.domain import Attention, Layer, ModelSpec, MoeMlp, Ranks
from tools.errors import NotYetExact
from tools.vram.remembered import remembered
from tools.vram.storage import Matrix
from tools.vram.weights import LayerWeights, layer_weights

KEPT = 64
"""Files whose sums are remembered; a search asks for the same few again and again."""


class Type(NamedTuple):
    """Bytes of a block and the weights it holds."""

    bytes: int
    weights: int


TYPES = {
    "F32": Type(4, 1), "F16": Type(2, 1), "BF16": Type(2, 1), "Q4_0": Type(18, 32), "Q4_1": Type(20, 32),
    "Q5_0": Type(22, 32), "Q5_1": Type(24, 32), "Q8_0": Type(34, 32), "Q2_K": Type(84, 256), "Q3_K": Type(110, 256),
    "Q4_K": Type(144, 256), "Q5_K": Type(176, 256), "Q6_K": Type(210, 256), "IQ1_S": Type(50, 256),
    "IQ1_M": Type(56, 256), "IQ2_XXS": Type(66, 256), "IQ2_XS": Type(74, 256), "IQ2_S": Type(82, 256),
    "IQ3_XXS": Type(98, 256), "IQ3_S": Type(110, 256), "IQ4_NL": Type(18, 32), "IQ4_XS": Type(136, 256),
    "TQ1_0": Type(54, 256), "TQ2_0": Type(66, 256), "MXFP4": Type(17, 32),
}  # fmt: skip

_USUAL = {
    "Q2_K_S": "Q2_K", "Q3_K_S": "Q3_K", "Q3_K_M": "Q3_K", "Q3_K_L": "Q3_K", "Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K",
    "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K", "IQ2_S": "IQ2_XS", "IQ2_M": "IQ2_S", "IQ3_XS": "IQ3_S", "IQ3_M": "IQ3_S",
}  # fmt: skip
"""The type of most tensors of a mixture, where the mixture is not called by it."""

_ALIASES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}

_FALLBACK = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ3_XXS", "IQ3_S", "IQ4_XS"), "IQ4_NL"),
    **dict.fromkeys(("Q2_K", "Q3_K", "TQ1_0", "TQ2_0"), "Q4_0"),
    "Q4_K": "Q5_0",
    "Q5_K": "Q5_1",
    "Q6_K": "Q8_0",
}
"""The type with blocks of 32 for rows that are no whole number of blocks of 256."""

_FLOATS = frozenset({"F32", "F16", "BF16"})
_SMALL = frozenset({"IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS", "IQ2_S", "IQ2_M"})
_EIGHT = 8
"""A mixture of exactly eight experts (Mixtral) gets more bits for its keys and values."""


class _Asked(NamedTuple):
    """What decides about a tensor beside its kind."""

    mixture: str
    usual: str
    layer: int
    layers: int
    sharing: int
    experts: int
    fused: bool = False

    @property
    def place(self) -> tuple[bool, ...]:
        """Equal for layers that every rule treats alike."""
        near = (self.layer < 2, self.layer < 4, self.layer < self.layers // 16)
        return (*near, self.more, self.early, self.layer < 7 * self.layers // 8)

    @property
    def more(self) -> bool:
        """The first and last eighth of the layers and every third between get more bits."""
        eighth = self.layers // 8
        return self.layer < eighth or self.layer >= 7 * self.layers // 8 or (self.layer - eighth) % 3 == 2

    @property
    def early(self) -> bool:
        """One of the first eighth of the layers."""
        return self.layer < self.layers // 8


def _values(a: _Asked) -> str:
    shared = a.sharing >= 4
    if a.mixture in _SMALL:
        few = "IQ3_S" if a.mixture in {"IQ2_S", "IQ2_M"} else "Q2_K"
        return "Q4_K" if shared or a.experts >= 4 else few
    if a.experts == _EIGHT:
        return "Q8_0"
    by_mixture = {
        "Q2_K": "Q4_K" if shared else "Q3_K",
        "Q2_K_S": "Q4_K" if shared else a.usual,
        "IQ3_XXS": "Q4_K" if shared else a.usual,
        "IQ3_XS": "Q4_K" if shared else a.usual,
        "IQ3_S": "Q4_K" if shared else a.usual,
        "IQ3_M": "Q4_K",
        "Q3_K_M": "Q5_K" if a.layer < 2 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ4_NL": "Q5_K" if shared else a.usual,
        "IQ4_XS": "Q5_K" if shared else a.usual,
        "Q4_K_M": "Q6_K" if a.more else a.usual,
        "Q5_K_M": "Q6_K" if a.more else a.usual,
        "Q4_K_S": "Q5_K" if a.layer < 4 else a.usual,
    }
    return by_mixture.get(a.mixture, a.usual)


def _keys(a: _Asked) -> str:
    if a.experts == _EIGHT:
        return "Q4_K" if a.mixture in _SMALL else "Q8_0"
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(a.mixture, a.usual)


def _queries(a: _Asked) -> str:
    return {"IQ3_XS": "IQ3_XXS", "IQ3_XXS": "IQ2_S"}.get(a.mixture, a.usual)


def _down(a: _Asked) -> str:
    if a.mixture in _SMALL:
        few = "IQ3_S" if a.mixture in {"IQ2_S", "IQ2_M"} else "Q2_K"
        return few if a.early else a.usual
    by_mixture = {
        "Q2_K": "Q3_K",
        "Q2_K_S": "Q4_K" if a.early else a.usual,
        "Q3_K_M": "Q5_K" if a.layer < a.layers // 16 else "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ3_M": "Q4_K" if a.early or (a.experts == _EIGHT and a.more) else a.usual,
        "Q4_K_M": "Q6_K" if a.more else a.usual,
        "Q5_K_M": "Q6_K" if a.more else a.usual,
        "Q4_K_S": "Q5_K" if a.early else a.usual,
    }
    return by_mixture.get(a.mixture, a.usual)


def _output(a: _Asked) -> str:
    if a.experts == _EIGHT:
        return "Q5_K" if a.mixture not in {"Q5_K_S", "Q5_K_M", "Q3_K_L", "Q4_0", "Q5_0", "Q6_K", "Q8_0"} else a.usual
    by_mixture = {
        "Q2_K": "Q3_K",
        "IQ3_XXS": "IQ3_S",
        "Q3_K_M": "Q4_K",
        "Q3_K_L": "Q5_K",
        "IQ3_M": "Q4_K",
        "IQ1_S": "IQ2_XXS",
        "IQ1_M": "IQ2_XXS",
        "IQ2_S": "IQ3_S",
        "IQ2_M": "IQ3_S",
    }
    return by_mixture.get(a.mixture, a.usual)


def _up(a: _Asked) -> str:
    middle = a.layers // 8 <= a.layer < 7 * a.layers // 8
    return "IQ3_XXS" if a.mixture == "IQ3_XS" and middle else a.usual


def _usual(a: _Asked) -> str:
    return a.usual


_FUSED = frozenset(
    {"phi3", "phi4", "chatglm", "gpt_neox", "falcon", "mpt", "dbrx", "bloom", "gpt2", "gpt_bigcode", "qwen"}
)
"""Families whose files keep queries, keys and values as one tensor."""

_FUSED_TYPES = {"Q3_K_M": "Q4_K", "Q3_K_L": "Q4_K", "IQ3_M": "Q4_K", "Q4_K_M": "Q5_K", "Q5_K_M": "Q6_K"}
"""The type of that tensor (Phi-4 as Q4_K_M: 8,354.7 MiB beside its table, as logged)."""

_KINDS: dict[str, tuple[Callable[[_Asked], str], ...]] = {
    "self_attn.qkv_proj": (_queries, _keys, _values),
    "self_attn.o_proj": (_output,),
    "down_proj": (_down,),
    "w2": (_down,),
    "gate_up_proj": (_up, _up),
    "w13": (_up, _up),
    "up_proj": (_up,),
}
"""Who decides about each output of a matrix, by its name or the end of it; others get the usual type."""


def is_known(mixture: str) -> bool:
    """Tell whether a name is one of llama.cpp's mixtures or types."""
    mixture = _ALIASES.get(mixture, mixture)
    return _USUAL.get(mixture, mixture) in TYPES


class Parts(NamedTuple):
    """Bytes of a file by where an engine puts them.

    Attributes:
        table: embeddings of tokens.
        output: the last norm, the head where it is not the table, and other tables.
        layers: each layer, experts included.
        experts: the experts of each layer.
    """

    table: int
    output: int
    layers: tuple[int, ...]
    experts: tuple[int, ...]

    @property
    def total(self) -> int:
        """All tensors of the file."""
        return self.table + self.output + sum(self.layers)


def file_bytes(model: ModelSpec, mixture: str) -> int:
    """Sum the tensors of a model's GGUF file (without the file of its towers).

    Args:
        model: its structure.
        mixture: llama.cpp's name of the mixture or type: ``Q4_K_M``, ``IQ4_XS``, ``Q8_0``, ``BF16``.

    Raises:
        NotYetExact: the mixture is not llama.cpp's (Unsloth's dynamic ones are chosen tensor by tensor).
    """
    return parts(model, mixture).total


@remembered(KEPT, by_identity=1)
def parts(model: ModelSpec, mixture: str) -> Parts:
    """Sum the tensors of a model's GGUF file by where they go; a search that asks again gets the same answer.

    Args:
        model: its structure.
        mixture: as for ``file_bytes``.

    Raises:
        NotYetExact: the mixture is not llama.cpp's.
    """
    mixture = _ALIASES.get(mixture, mixture)
    usual = _USUAL.get(mixture, mixture)
    if not is_known(mixture):
        raise NotYetExact("errors_vram.unknown_format", format=f"gguf-{mixture}"[:60])
    count, kept = len(model.layers), bool(model.checkpoints) and model.checkpoints[0].quantization.method == "mxfp4"
    table, output = _tables(model, mixture, usual)
    fused = model.model_type in _FUSED
    known: dict[tuple[object, ...], tuple[int, int]] = {}
    found: list[tuple[int, int]] = []
    for index, layer in enumerate(model.layers):
        routed = layer.mlp.experts if isinstance(layer.mlp, MoeMlp) else 0
        asked = _Asked(mixture, usual, index, count, _sharing(layer), routed, fused)
        key = (id(layer), *asked.place)
        if key not in known:
            known[key] = _layer_bytes(layer_weights(layer, model.hidden_size, Ranks()), asked, kept)
        found.append(known[key])
    return Parts(table, output, tuple(size for size, _ in found), tuple(experts for _, experts in found))


def _sharing(layer: Layer) -> int:
    """Queries that share a key and value head."""
    heads = next((mixer for mixer in layer.mixers if isinstance(mixer, Attention)), None)
    return heads.heads // max(1, heads.kv_heads) if heads else 1


def _layer_bytes(weights: LayerWeights, asked: _Asked, kept: bool) -> tuple[int, int]:
    """Bytes of a layer, and of its experts."""
    stored = [(matrix.experts, _matrix_bytes(matrix, asked, kept)) for matrix in weights.matrices]
    return 4 * sum(weights.vectors) + sum(size for _, size in stored), sum(size for held, size in stored if held)


def _tables(model: ModelSpec, mixture: str, usual: str) -> tuple[int, int]:
    """Embeddings, and what goes with the head; where they are one table it is stored as a head is."""
    rows, columns = model.vocab_size, model.hidden_size
    head = usual if usual in _FLOATS else "Q8_0" if usual in {"Q8_0", "MXFP4"} else "Q6_K"
    if mixture in {*_SMALL, "IQ3_XXS"}:
        head = "Q5_K"
    kind = head if model.tied_embeddings else _TABLES.get(mixture, usual)
    others = 4 * columns + sum(
        linear.times * _stored(sum(linear.outputs), linear.inputs, kind)
        for linear in model.outer
        if not _TOWER.search(linear.name)
    )
    table = _stored(rows, columns, kind)
    return table, others + (0 if model.tied_embeddings else _stored(rows, columns, head))


_TABLES = {
    **dict.fromkeys(("IQ1_S", "IQ1_M", "IQ2_XXS", "IQ2_XS"), "Q2_K"),
    **dict.fromkeys(("IQ2_S", "IQ2_M", "IQ3_XXS"), "IQ3_S"),
    **dict.fromkeys(("TQ1_0", "TQ2_0"), "Q4_K"),
    "MXFP4": "Q8_0",
}
"""The embeddings' type where it is not the usual one."""

_TOWER = re.compile(r"vi[st]|audio|tower|merger|projector|mm_|encoder|patch")
"""Modules of towers: they lie in a file of their own (``mmproj``)."""


def _matrix_bytes(matrix: Matrix, asked: _Asked, kept: bool) -> int:
    """Bytes of one matrix of all experts; routers stay in float32, experts published in MXFP4 as they are."""
    if matrix.name == "mlp.gate":
        return 4 * matrix.elements
    name = matrix.name if matrix.name in _KINDS else matrix.name.rpartition(".")[2]
    choose = _KINDS.get(name, ())
    total = 4 * matrix.bias
    for place, rows in enumerate(matrix.outputs):
        rule = choose[place] if len(choose) == len(matrix.outputs) else _usual
        stored = asked.usual if asked.usual in _FLOATS else rule(asked)
        if asked.fused and matrix.name == "self_attn.qkv_proj" and asked.usual not in _FLOATS:
            stored = _FUSED_TYPES.get(asked.mixture, asked.usual)
        if matrix.experts and (kept or asked.mixture == "MXFP4"):
            stored = "MXFP4"
        elif asked.mixture == "MXFP4":
            stored = "Q8_0"
        total += _stored(rows, matrix.inputs, stored)
    return max(1, matrix.experts) * total


def _stored(rows: int, columns: int, kind: str) -> int:
    """Bytes of rows that are whole blocks of a type, else of the type it falls back to."""
    if columns % TYPES[kind].weights:
        kind = _FALLBACK.get(kind, "F16")
        kind = kind if columns % TYPES[kind].weights == 0 else "F16"
    return rows * (columns // TYPES[kind].weights) * TYPES[kind].bytes
