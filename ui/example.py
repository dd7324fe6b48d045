"""What the page shows before anything is asked: a real plan, made by the planner."""

from __future__ import annotations

from tools.domain import GpuAsk, ModelAsk, Plan, Reading
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue

EXAMPLES = (
    "Пойдут ли сразу две модели Qwen3-30B на RTX PRO 6000 на 98 ГБ?",
    "Will two Qwen3-30B run at once on my 98 GB card?",
    "Llama 3.1 8B и 70B на RTX 3090 и RTX 4090 вместе?",
    "Three copies of Qwen3-14B on 2x24 GB, which quant?",
)
"""Questions to click, in both languages."""


def example_plan() -> Plan | None:
    """Plan two Qwen3-30B on a 98 GB card."""
    reading = Reading(
        models=(ModelAsk(name="Qwen3", size_b=30, copies=2),),
        models_relation="together",
        gpus=(GpuAsk(name="RTX PRO 6000", memory_gb=98),),
        intent="fit",
    )
    found = resolve(reading, models=ModelCatalogue.load(), gpus=GpuCatalogue.load(), rig=None)
    return make_plan(found.request) if found.request else None
