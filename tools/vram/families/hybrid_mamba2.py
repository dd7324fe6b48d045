"""Mamba-2 beside attention: Nemotron-H and Nemotron-3, Falcon-H1, Granite 4, and Mamba-2 alone.

Source: vLLM 0.32 ``model_executor/models/nemotron_h.py``, ``falcon_h1.py``, ``granitemoehybrid.py``, ``mamba2.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

from tools.domain import Attention, DenseMlp, Layer, Linear, Mamba, MoeMlp
from tools.errors import BadValue, NotYetExact
from tools.vram.dialects import Dialect, Experts, Says
from tools.vram.families import hybrid, regular
from tools.vram.families.structure import Structure
from tools.vram.fields import MAX_LAYERS, Config, flag, number

_FULL, _STATE = "full_attention", "linear_attention"

_NEMOTRON = Dialect(
    gated=False,
    mlp_bias=Says("mlp_bias"),
    moe=Experts(
        experts=("n_routed_experts", "num_experts"),
        width=("moe_intermediate_size",),
        shared_width=("moe_shared_expert_intermediate_size", "shared_expert_intermediate_size"),
        score_bias=True,
    ),
)
_LETTERS = {"M": "M", "-": "-", "*": "*", "E": "E"}
_WORDS = {"mamba": "M", _STATE: "M", "mlp": "-", "attention": "*", _FULL: "*", "moe": "E"}

_FALCON = Dialect()

_GRANITE = Dialect(
    derived_head_dim=True,
    qkv_bias=Says("attention_bias"),
    o_bias=Says("attention_bias"),
    moe=Experts(
        experts=("num_local_experts", "num_experts"),
        shared_width=("shared_intermediate_size", "shared_expert_intermediate_size"),
    ),
)
_GRANITE_KINDS = {"mamba": _STATE, _STATE: _STATE, "attention": _FULL, _FULL: _FULL}


def nemotron_h(config: Config) -> Structure:
    """Describe a Nemotron-H or Nemotron-3: each layer is only one thing, as letters of a pattern say.

    ``M`` a state, ``*`` attention without positions, ``-`` a feed-forward block, ``E`` a mixture of experts, which
    may see tokens in a latent width.
    """
    pattern = _pattern(config)
    widths = _widths(config, pattern.count("-"))
    kinds: list[tuple[str, int]] = []
    for letter in pattern:
        kinds.append((letter, widths.pop(0) if letter == "-" else 0))

    def layer(kind: tuple[str, int]) -> Layer:
        if kind[0] == "M":
            return Layer((_nemotron_state(config),), None, norms=1)
        if kind[0] == "*":
            return Layer((replace(regular.attention(config, _NEMOTRON, _FULL), rotary_dim=0),), None, norms=1)
        if kind[0] == "E":
            return _nemotron_experts(config)
        return Layer((), DenseMlp(kind[1], gated=False, bias=flag(config, _NEMOTRON.mlp_bias)), norms=1)

    return Structure(hybrid.layers(kinds, layer), prefix="backbone.layers")


def _pattern(config: Config) -> str:
    """Read the pattern of layers: one string of letters, or a list of words."""
    for name in ("hybrid_override_pattern", "hybrid_pattern", "layers_block_type", "layer_types"):
        said = config.get(name)
        if not said:
            continue
        words = _LETTERS if isinstance(said, str) else _WORDS
        given = [str(word)[:80] for word in cast("Sequence[Any]", said)] if isinstance(said, list | str) else [""]
        for word in given:
            if word not in words:
                raise NotYetExact("errors_vram.not_covered", architecture="nemotron_h", part=word or name)
        if len(given) > MAX_LAYERS:
            raise BadValue("errors_vram.bad_field", field=name, value=str(len(given)))
        return "".join(words[word] for word in given)
    raise BadValue("errors_vram.missing_field", field="hybrid_override_pattern")


def _widths(config: Config, count: int) -> list[int]:
    """Width of each feed-forward block: one for all, or a list."""
    said = config.get("intermediate_size")
    if not isinstance(said, list):
        return [number(config, "intermediate_size")] * count if count else []
    widths = [number({"intermediate_size": width}, "intermediate_size") for width in cast("list[Any]", said)]
    if len(widths) == 1:
        return widths * count
    if len(widths) < count:
        raise BadValue("errors_vram.bad_field", field="intermediate_size", value=str(widths)[:80])
    return widths


def _nemotron_state(config: Config) -> Mamba:
    heads, size = number(config, "mamba_num_heads"), number(config, "mamba_head_dim")
    return Mamba(
        version=2,
        intermediate=heads * size,
        state=number(config, "ssm_state_size", default=128),
        conv_kernel=number(config, "conv_kernel", default=4),
        heads=heads,
        head_dim=size,
        groups=number(config, "n_groups", default=8),
        conv_bias=flag(config, Says("use_conv_bias", absent=True)),
        bias=flag(config, Says("use_bias")),
        state_bytes=hybrid.state_bytes(config, "mamba_ssm_cache_dtype", "float32"),
    )


def _nemotron_experts(config: Config) -> Layer:
    """A mixture whose experts may work in a latent width, with a projection down and one up beside it."""
    made = regular.moe_mlp(config, _NEMOTRON)
    latent = number(config, "moe_latent_size", default=0)
    shared = made.shared_intermediate * number(config, "n_shared_experts", default=0)
    mlp = replace(made, gated=False, latent=latent, shared_intermediate=shared)
    if not latent:
        return Layer((), mlp, norms=1)
    hidden, bias = number(config, "hidden_size"), flag(config, _NEMOTRON.mlp_bias)
    down = Linear("mlp.fc1_latent_proj", (latent,), hidden, bias=bias, plain=False)
    up = Linear("mlp.fc2_latent_proj", (hidden,), latent, bias=bias, plain=False)
    return Layer((), mlp, norms=1, extras=(down, up))


def falcon_h1(config: Config) -> Structure:
    """Describe a Falcon-H1: every layer attends and keeps a state side by side."""
    attention = regular.attention(config, _FALCON, _FULL)
    width = config.get("mamba_d_ssm")
    state = _state(config, number(config, "mamba_d_ssm") if width else None, flag(config, Says("mamba_rms_norm")))
    layer = Layer((attention, state), regular.dense_mlp(config, _FALCON))
    switches = () if "mamba_rms_norm" in config else ("mamba_rms_norm",)
    return Structure((layer,) * hybrid.layer_count(config), switches=switches)


def granite(config: Config) -> Structure:
    """Describe a Granite 4: states or attention, then a dense block, experts, or both."""
    kinds = hybrid.kinds_of(config, _GRANITE_KINDS, lambda count: [_STATE] * count)
    mlp = _granite_mlp(config)
    rotary = None if config.get("position_embedding_type") == "rope" else 0

    def layer(kind: str) -> Layer:
        if kind == _STATE:
            return Layer((_state(config, None, norm=True),), mlp)
        attention: Attention = regular.attention(config, _GRANITE, _FULL)
        return Layer((replace(attention, rotary_dim=rotary),), mlp)

    return Structure(hybrid.layers(kinds, layer), tied=True)


def _granite_mlp(config: Config) -> DenseMlp | MoeMlp | None:
    if config.get("num_local_experts") or config.get("num_experts"):
        return regular.moe_mlp(config, _GRANITE)
    width = number(config, "shared_intermediate_size", default=0)
    return DenseMlp(width) if width else None


def _state(config: Config, intermediate: int | None, norm: bool) -> Mamba:
    """A Mamba-2 by the field names that Falcon-H1, Granite 4 and Bamba share."""
    heads = number(config, "mamba_n_heads")
    inner = intermediate or number(config, "mamba_expand", default=2) * number(config, "hidden_size")
    size = config.get("mamba_d_head")
    return Mamba(
        version=2,
        intermediate=inner,
        state=number(config, "mamba_d_state"),
        conv_kernel=number(config, "mamba_d_conv", default=4),
        heads=heads,
        head_dim=inner // heads if size in (None, "auto") else number(config, "mamba_d_head"),
        groups=number(config, "mamba_n_groups", default=1),
        conv_bias=flag(config, Says("mamba_conv_bias", absent=True)),
        bias=flag(config, Says("mamba_proj_bias")),
        norm=norm,
    )


def mamba2(config: Config) -> Structure:
    """Describe a model of Mamba-2 layers alone."""
    heads, size = number(config, "num_heads"), number(config, "head_dim")
    inner = number(config, "expand", default=2) * number(config, "hidden_size")
    state = Mamba(
        version=2,
        intermediate=number(config, "intermediate_size", default=inner),
        state=number(config, "state_size"),
        conv_kernel=number(config, "conv_kernel", default=4),
        heads=heads,
        head_dim=size,
        groups=number(config, "n_groups"),
        conv_bias=flag(config, Says("use_conv_bias", absent=True)),
        bias=flag(config, Says("use_bias")),
    )
    layer = Layer((state,), None, norms=1)
    return Structure((layer,) * hybrid.layer_count(config), prefix="backbone.layers")


BUILDERS: dict[str, Callable[[Config], Structure]] = {
    "nemotron_h": nemotron_h,
    "nemotron_h_puzzle": nemotron_h,
    "falcon_h1": falcon_h1,
    "granitemoehybrid": granite,
    "mamba2": mamba2,
}
