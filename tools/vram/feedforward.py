"""Feed-forward blocks on a rank: dense, and mixtures of experts shared out by width or by expert.

Source: vLLM 0.32 ``layers/fused_moe/config.py`` (``FusedMoEParallelConfig.make``): without expert parallelism each
expert's width is divided among all tensor- and data-parallel ranks; with it a rank holds whole experts, and the first
ranks one more where they do not divide (``expert_map_manager.py:determine_expert_map``).
"""

from __future__ import annotations

from tools.domain import DenseMlp, MoeMlp, Ranks
from tools.vram.sharding import divide
from tools.vram.storage import Matrix


def matrices(mlp: DenseMlp | MoeMlp | None, hidden: int, ranks: Ranks) -> list[Matrix]:
    """List a block's matrices on the fullest rank.

    Raises:
        BadValue: a width does not divide among the ranks that share it.
    """
    if mlp is None:
        return []
    if isinstance(mlp, MoeMlp):
        return _experts(mlp, hidden, ranks)
    return _dense(mlp, hidden, 1 if mlp.whole and ranks.splits_sequences and ranks.pp == 1 else ranks.tp, "mlp")


def _experts(mlp: MoeMlp, hidden: int, ranks: Ranks) -> list[Matrix]:
    width = ranks.sharing_an_expert
    inner = divide(mlp.intermediate, width, "moe_intermediate_size")
    if width > 1:
        inner = max(inner, mlp.least_share)
    held = -(-mlp.experts // ranks.sharing_experts)
    up = (inner, inner) if mlp.gated else (inner,)
    outer = mlp.latent or hidden
    name = "experts" if mlp.beside else "mlp.experts"
    bias = (sum(up), outer) if mlp.expert_bias else (0, 0)
    found = [
        _router(mlp, hidden),
        Matrix(f"{name}.w13", up, outer, bias=bias[0], experts=held, split="out", ranks=width),
        Matrix(f"{name}.w2", (outer,), inner, bias=bias[1], experts=held, split="in", ranks=width),
    ]
    if mlp.shared_intermediate:
        tp = 1 if mlp.shared_whole and ranks.splits_sequences else ranks.tp
        unit = mlp.shared_unit * tp
        width = -(-mlp.shared_intermediate // unit) * unit if unit else mlp.shared_intermediate
        found += _dense(DenseMlp(width, mlp.gated), hidden, tp, f"mlp.{mlp.shared_name}")
    return found


def _dense(mlp: DenseMlp, hidden: int, tp: int, name: str) -> list[Matrix]:
    inner = divide(mlp.intermediate, tp, "intermediate_size")
    up = (inner, inner) if mlp.gated else (inner,)
    up_name = f"{name}.{'gate_up_proj' if mlp.gated else 'up_proj'}"
    return [
        Matrix(up_name, up, hidden, bias=sum(up) if mlp.bias else 0, split="out", ranks=tp),
        Matrix(f"{name}.down_proj", (hidden,), inner, bias=hidden if mlp.bias else 0, split="in", ranks=tp),
    ]


def _router(mlp: MoeMlp, hidden: int) -> Matrix:
    """The projection that scores experts: on every rank, and of the engine's own type unless it may be quantised."""
    scored = mlp.experts + mlp.idle
    return Matrix(
        "mlp.gate",
        (scored,),
        hidden,
        bias=scored if mlp.router_bias else 0,
        element_bytes=mlp.router_bytes if mlp.router_bytes > 2 else 0,
        plain=not mlp.router_quantised,
    )
