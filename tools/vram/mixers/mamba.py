"""State spaces: Mamba (selective scan by channel) and Mamba-2 (by head, in groups).

Layouts follow vLLM 0.32 ``model_executor/layers/mamba/mamba_mixer.py`` and ``mamba_mixer2.py``, states
``layers/mamba/mamba_utils.py`` (``mamba1_state_shape``, ``mamba2_state_shape``).
"""

from __future__ import annotations

from collections.abc import Iterator

from tools.domain import Linear, Mamba
from tools.errors import BadValue
from tools.vram.kv.specs import CacheContext, KvSpec
from tools.vram.sharding import Vectors, divide, on_rank
from tools.vram.storage import Matrix


def matrices(mixer: Mamba, hidden: int, tp: int) -> Iterator[Matrix]:
    """Yield the projections in and out; Mamba-1 has those of its time step too, and none of it is ever quantised."""
    is_first = mixer.version == 1
    inner = mixer.intermediate
    if is_first:
        rank = mixer.time_step_rank
        linears = [
            Linear("mamba.in_proj", (inner, inner), hidden, bias=mixer.bias, split="out"),
            Linear("mamba.x_proj", (rank + 2 * mixer.state,), inner, split="in"),
            Linear("mamba.dt_proj", (inner,), rank, bias=True, split="out"),
        ]
    else:
        linears = [Linear("mamba.in_proj", _inputs(mixer, tp), hidden, bias=mixer.bias, split="out", plain=False)]
    linears.append(Linear("mamba.out_proj", (hidden,), inner, bias=mixer.bias, split="in", plain=is_first))
    yield from (on_rank(linear, tp) for linear in linears)


def vectors(mixer: Mamba, _hidden: int, tp: int) -> Vectors:
    """Count the convolution, decay rates (float32), skips, time step biases and norms."""
    channels = _channels(mixer, tp)
    elements = channels * (mixer.conv_kernel + (1 if mixer.conv_bias else 0))
    inner = divide(mixer.intermediate, tp, "intermediate_size")
    if mixer.version == 1:
        norms = mixer.time_step_rank + 2 * mixer.state if mixer.norm else 0
        return Vectors(elements + inner + norms, inner * mixer.state)
    heads = divide(mixer.heads, tp, "mamba_num_heads")
    return Vectors(elements + 2 * heads + (inner if mixer.norm else 0), heads)


def kv_specs(mixer: Mamba, context: CacheContext) -> tuple[KvSpec, ...]:
    """One state a sequence: the convolution's last inputs, and ``state`` elements a channel.

    Worked example: Nemotron-3 Nano, 64 heads of 64, state 128, 8 groups: 3 x (4,096 + 2 x 8 x 128) x 2 B of inputs and
    64 x 64 x 128 x 4 B (float32) are 2,134,016 B.
    """
    tp = context.tp
    drafts = 0 if mixer.version == 1 else context.drafts
    inputs = (mixer.conv_kernel - 1 + drafts) * _channels(mixer, tp) * context.width
    element = mixer.state_bytes or context.width
    if mixer.version == 1:
        inner = divide(mixer.intermediate, tp, "intermediate_size")
        return (KvSpec("state", inputs + inner * mixer.state * element),)
    heads = divide(mixer.heads, tp, "mamba_num_heads")
    state = heads * mixer.head_dim * mixer.state * element
    return (KvSpec("state", inputs + state, checkpoints=1),)


def _groups(mixer: Mamba, tp: int) -> int:
    """Groups over all ranks: a single one is repeated for each rank.

    Raises:
        BadValue: several groups do not divide.
    """
    if mixer.groups % tp == 0:
        return mixer.groups
    if mixer.groups != 1:
        raise BadValue("errors_vram.does_not_divide", what="n_groups", size=mixer.groups, ranks=tp)
    return tp


def _inputs(mixer: Mamba, tp: int) -> tuple[int, ...]:
    """Outputs of Mamba-2's input projection: gate, values, both group states, time steps; one where groups repeat."""
    states = _groups(mixer, tp) * mixer.state
    parts = (mixer.intermediate, mixer.intermediate, states, states, mixer.heads)
    return parts if mixer.groups % tp == 0 else (sum(parts),)


def _channels(mixer: Mamba, tp: int) -> int:
    """Channels that the convolution of a rank mixes."""
    states = 0 if mixer.version == 1 else 2 * _groups(mixer, tp) * mixer.state
    return divide(mixer.intermediate + states, tp, "intermediate_size")
