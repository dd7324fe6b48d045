"""Heads that predict further tokens (multi-token prediction): what each family's is made of.

Most are one more decoder layer with a projection of two hidden vectors to one and norms around it; they use the model's
own embeddings and output head. Source: vLLM 0.32 ``model_executor/models/*_mtp.py``, ``models/*/nvidia/mtp.py``,
``config/speculative.py:hf_config_override`` and ``v1/worker/gpu/spec_decode/eagle/utils.py:load_eagle_model``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from tools.domain import Attention, CompressedAttention, DenseMlp, Draft, Layer, Linear, MlaAttention, MoeMlp
from tools.vram.fields import Config, number

COUNTS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_layers")
"""Fields that count a head's layers."""
MAX_HEAD = 64
VOCAB_PADDING = 64
_FULL, _SLIDING = "full_attention", "sliding_attention"


@dataclass(frozen=True, slots=True)
class Head:
    """How a family's head differs from one more layer like the model's last.

    Attributes:
        attention: whose attention it has: the ``last`` layer's, that of the last with ``full`` or ``sliding``
            attention, or of the kind that a field says (``declared``).
        mlp: whose feed-forward block: the ``last`` layer's, the ``first`` one's, or a ``dense`` one.
        projection: what stores the projection: the model's own type on every rank (``plain``), the checkpoint's format
            on every rank (``whole``), that format in shares of rows (``rows``), or one for each of the vectors in that
            format, and what makes one residual stream of several (``pair``).
        projection_name: its module, from the model's root where all layers have it in common.
        norms: vectors beside the layer.
        common: projection and norms are there once, not for each layer.
        own_head: each layer has an output head of its own.
        restarts: its layers are numbered from 0 on, not after the model's.
        prefix: module path of its layers.
        most: layers that the engine runs at most, where the checkpoint may have more (0 = all).
        plain: modules of its layers that are never quantised.
    """

    attention: Literal["last", "full", "sliding", "declared"] = "last"
    mlp: Literal["last", "first", "dense"] = "last"
    projection: Literal["plain", "whole", "rows", "pair"] = "plain"
    projection_name: str = "eh_proj"
    norms: int = 3
    common: bool = False
    own_head: bool = False
    restarts: bool = False
    prefix: str = "model.layers"
    most: int = 0
    plain: tuple[str, ...] = ()


_BESIDE = Head("full", "first", "rows", "mtp.fc", common=True, restarts=True, prefix="mtp.layers")
_MIMO_V2 = Head("sliding", "dense", restarts=True, prefix="model.mtp.layers", most=1, plain=("self_attn.o_proj",))

HEADS: dict[str, Head] = {
    "bailing_hybrid": Head(attention="full"),
    "deepseek_v3": Head(),
    "deepseek_v32": Head(),
    "deepseek_v4": Head(projection="pair"),
    "ernie4_5_moe": Head(mlp="dense", norms=2),
    "exaone_moe": replace(_BESIDE, attention="declared", mlp="dense"),
    "glm4_moe": Head(),
    "glm4_moe_lite": Head(restarts=True),
    "glm_moe_dsa": Head(),
    "hy_v3": Head(),
    "longcat_flash": Head(mlp="dense", projection="whole", common=True, most=1),
    "mimo": Head(restarts=True),
    "mimo_v2": _MIMO_V2,
    "mimo_v2_flash": _MIMO_V2,
    "nemotron_h": Head(
        projection="rows",
        projection_name="mtp.layers.0.eh_proj",
        common=True,
        restarts=True,
        prefix="mtp.layers",
        most=1,
    ),
    "pangu_ultra_moe": Head(),
    "qwen3_5_moe_text": _BESIDE,
    "qwen3_5_text": _BESIDE,
    "qwen3_next": _BESIDE,
    "step3p5": Head(attention="declared", mlp="dense", own_head=True),
}
"""Heads by ``model_type`` of the text model."""


def draft_of(config: Config, layers: tuple[Layer, ...]) -> Draft | None:
    """Describe the head that a config declares, or None where it declares none or its family's is not known.

    Worked example: MiMo-7B's head is 210,790,400 parameters, what is published beyond the model.

    Args:
        config: fields of the text model.
        layers: the model's own.

    Raises:
        BadValue: a field is absurd.
    """
    kind = str(config.get("model_type"))
    head = HEADS.get(kind)
    stated = any(config.get(name) is not None for name in COUNTS)
    count = number(config, *COUNTS, default=0, maximum=MAX_HEAD) if stated else 1
    if head is None or not layers or not count:
        return None
    count = min(count, head.most or count)
    blocks = _pattern(config, layers) if kind == "nemotron_h" else _blocks(head, config, layers, count)
    return _assembled(head, config, blocks, 0 if head.restarts else len(layers)) if blocks else None


def _assembled(head: Head, config: Config, blocks: tuple[Layer, ...], first: int) -> Draft:
    """Put projections and norms where they are: once for all layers, or in each of them."""
    beside = _projections(head, config)
    plain = tuple(f"{head.prefix}.{first + index}.{name}" for index in range(len(blocks)) for name in head.plain)
    draft = Draft(blocks, beside, head.norms, head.prefix, first, plain)
    if head.common:
        return draft
    own = (*beside, *((_own_head(config),) if head.own_head else ()))
    made = {id(one): replace(one, norms=one.norms + head.norms, extras=(*one.extras, *own)) for one in blocks}
    layers = tuple(made[id(one)] for one in blocks)
    return replace(draft, layers=layers, outer=(), norms=0)


def _projections(head: Head, config: Config) -> tuple[Linear, ...]:
    hidden = number(config, "hidden_size")
    if head.projection == "pair":
        pair = (Linear(name, (hidden,), hidden, plain=False) for name in ("e_proj", "h_proj"))
        from tools.vram.families.deepseek_v4 import last_mixing

        return (*pair, *last_mixing(number(config, "hc_mult", default=4, maximum=64), hidden))
    split = "out" if head.projection == "rows" else ""
    return (Linear(head.projection_name, (hidden,), 2 * hidden, split=split, plain=head.projection == "plain"),)


def _own_head(config: Config) -> Linear:
    rows = -(-number(config, "vocab_size") // VOCAB_PADDING) * VOCAB_PADDING
    return Linear("shared_head.head", (rows,), number(config, "hidden_size"), split="out")


def _blocks(head: Head, config: Config, layers: tuple[Layer, ...], count: int) -> tuple[Layer, ...]:
    """Make the decoder layers, equal ones one shared object; none where the model has no layer to make them like."""
    made: dict[int, Layer] = {}
    found: list[Layer] = []
    for index in range(count):
        like = _like(head, config, layers, index)
        mlp = _mlp(head, config, layers)
        if like is None or mlp is None:
            return ()
        if id(like) not in made:
            made[id(like)] = _single(head, like, mlp)
        found.append(made[id(like)])
    return tuple(found)


def _single(head: Head, like: Layer, mlp: DenseMlp | MoeMlp) -> Layer:
    """Make a layer with one mixer; LongCat-Flash's layers are two in one, its head's layer is not."""
    extras = () if head.mlp == "dense" and len(like.mixers) > 1 else like.extras
    return replace(like, mlp=mlp, mixers=like.mixers[:1], norms=like.norms // len(like.mixers), extras=extras)


def _like(head: Head, config: Config, layers: tuple[Layer, ...], index: int) -> Layer | None:
    """Find the layer whose attention a head's layer has; the last with an indexer where others borrow its choice."""
    wanted = head.attention
    if wanted == "declared":
        wanted = "sliding" if _declared(config, len(layers), index) == _SLIDING else "full"
    if layers[-1].mixers and isinstance(layers[-1].mixers[0], CompressedAttention):
        return _compressed(config, layers, index)
    for layer in reversed(layers):
        for mixer in layer.mixers:
            if isinstance(mixer, MlaAttention) and (mixer.indexer or not mixer.sparse):
                return layer
            if isinstance(mixer, Attention) and (wanted == "last" or (wanted == "sliding") == bool(mixer.window)):
                return layer
    return None


def _compressed(config: Config, layers: tuple[Layer, ...], index: int) -> Layer:
    """DeepSeek-V4's compression goes on in its list after the model's layers; where it does not, there is none."""
    said = config.get("compress_ratios")
    ratios = cast("list[Any]", said) if isinstance(said, list) else []
    place = len(layers) + index
    ratio = ratios[place] if len(ratios) > place else 0
    found = [mixer for layer in layers for mixer in layer.mixers if isinstance(mixer, CompressedAttention)]
    like = next((mixer for mixer in found if mixer.ratio == ratio), replace(found[0], ratio=1, indexer=None))
    return replace(layers[-1], mixers=(like,))


def _declared(config: Config, count: int, index: int) -> str:
    """Read what a head's layer attends to: of its own list, of the model's beyond its layers, or as the model's first.

    Source: ``exaone_moe.py`` (``mtp_layer_types``, else ``layer_types`` from the start); ``step3p5.py``
    (``layer_types`` goes on after the model's layers).
    """
    for name, place in (("mtp_layer_types", index), ("layer_types", count + index), ("layer_types", index)):
        said = config.get(name)
        if isinstance(said, list) and len(cast("list[Any]", said)) > place:
            return str(cast("list[Any]", said)[place])
    return _FULL


def _mlp(head: Head, config: Config, layers: tuple[Layer, ...]) -> DenseMlp | MoeMlp | None:
    if head.mlp == "dense":
        width = number(config, "ffn_hidden_size", "intermediate_size", default=0)
        dense = next((layer.mlp for layer in layers if isinstance(layer.mlp, DenseMlp)), None)
        return DenseMlp(width) if width else dense
    return layers[0].mlp if head.mlp == "first" else layers[-1].mlp


def _pattern(config: Config, layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Nemotron-H's head is a pattern of its own: ``*`` attention, ``E`` a mixture of experts; each is a layer."""
    kinds = {
        "*": next((one for one in layers if one.mixers and isinstance(one.mixers[0], Attention)), None),
        "E": next((one for one in layers if isinstance(one.mlp, MoeMlp)), None),
    }
    said = str(config.get("mtp_hybrid_override_pattern") or "*E")[:MAX_HEAD]
    found = [layer for layer in map(kinds.get, said) if layer is not None]
    return tuple(found) if len(found) == len(said) else ()
