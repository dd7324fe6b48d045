"""Ranks of other kinds than tensor-parallel ones: pipeline stages, data-parallel ranks, experts spread whole."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cases import dense, gemma, mla, moe
from cases.parts import Config, Families, config_of

SPREADS: tuple[dict[str, Any], ...] = (
    {"tp": 4, "ep": True},
    {"tp": 2, "dp": 2},
    {"tp": 2, "dp": 2, "ep": True},
    {"dp": 4, "ep": True, "pp": 2},
)
"""Ways to spread a mixture; its experts do not divide equally."""
PIPES: tuple[dict[str, Any], ...] = ({"pp": 2}, {"pp": 3, "tp": 2})
"""Pipelines of seven layers."""
UNPIPED = ("ernie4_5_moe", "qwen3_moe")
"""vLLM refuses stages of these: tied embeddings, a stage without experts."""
UNEVEN: Config = {"num_experts": 10, "num_local_experts": 10, "n_routed_experts": 10, "moe_num_experts": 10}
FLAT: Config = {"n_group": 1, "topk_group": 1}


def cases() -> Iterator[dict[str, Any]]:
    """Yield every case of the group."""
    mixtures: Families = moe.FAMILIES | {name: mla.FAMILIES[name] for name in ("deepseek_v3", "glm5", "longcat_flash")}
    for name, family in mixtures.items():
        for spread in SPREADS:
            if spread.get("pp") and name in UNPIPED:
                continue
            config = config_of(family, **{key: value for key, value in UNEVEN.items() if key in family[2]})
            yield {"id": _named(name, spread), "config": {**config, **(FLAT if "n_group" in config else {})}, **spread}
    for name, family in (dense.FAMILIES | gemma.FAMILIES | mixtures).items():
        if "layer_types" in family[2] or family[2].get("num_layers") or name in UNPIPED:
            continue  # as many kinds as layers
        for pipe in PIPES:
            yield {"id": _named(name, pipe), "config": config_of(family, num_hidden_layers=7), **pipe}
    for spread in SPREADS:
        config = config_of(mla.FAMILIES["deepseek_v3"], n_routed_experts=10, **FLAT, quantization_config=mla.FP8)
        yield {"id": _named("deepseek_v3-fp8", spread), "config": config, **spread}


def _named(name: str, ranks: dict[str, Any]) -> str:
    return "-".join([name, *(f"{key}{int(value)}" for key, value in ranks.items())])
