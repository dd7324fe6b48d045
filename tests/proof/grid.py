"""The grid of plans whose files the validators see: models x precisions x cards x options x targets."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from tools.domain import Plan
from tools.errors import RequestError
from tools.launch.choices import ALLOWED, Choices
from tools.launch.generate import TARGETS, LaunchFiles, generate
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments

ASKED: tuple[tuple[tuple[str, ...], dict[str, object]], ...] = (
    (("2xQwen/Qwen3-30B-A3B",), {"gpu": ["RTX PRO 6000"]}),
    (("2xQwen/Qwen3-30B-A3B@bf16",), {"gpu": ["RTX PRO 6000"], "residency": "swap"}),
    (("Qwen/Qwen3-30B-A3B@bf16", "Qwen/Qwen3-30B-A3B@int4"), {"gpu": ["RTX PRO 6000"]}),
    (("2xQwen/Qwen3-30B-A3B@int4",), {"gpu": ["2xRTX 3090"], "context": 16384}),
    (("Qwen/Qwen3-30B-A3B@awq", "Qwen/Qwen3-8B"), {"gpu": ["2xRTX 3090"]}),
    (("Qwen/Qwen3-14B@fp8", "Qwen/Qwen3-4B"), {"gpu": ["RTX 4090"]}),
    (("Qwen/Qwen3-8B@gptq-int4",), {"gpu": ["RTX 2080 Ti"]}),
    (("meta-llama/Llama-3.1-8B-Instruct", "Qwen/Qwen3-4B"), {"gpu": ["RTX 5090"]}),
    (("meta-llama/Llama-3.1-70B-Instruct@int4",), {"gpu": ["2xRTX 3090"], "ram": "128GB"}),
    (("meta-llama/Llama-3.1-70B-Instruct",), {"gpu": ["4xA100 80GB"]}),
    (("openai/gpt-oss-20b", "Qwen/Qwen3-8B@fp8"), {"gpu": ["RTX 5090"]}),
    (("openai/gpt-oss-120b",), {"gpu": ["H100"], "users": 16, "context": 32768}),
    (("Qwen/Qwen3-32B@awq", "Qwen/Qwen3-Coder-30B-A3B-Instruct@int4"), {"gpu": ["2xRTX 4090"]}),
    (("google/gemma-3-27b-it@int4", "google/gemma-3-4b-it"), {"gpu": ["RTX 3090"]}),
    (("mistralai/Mistral-7B-Instruct-v0.3",), {"gpu": ["RTX 4060 Ti 16GB"]}),
    (("Qwen/Qwen2.5-72B-Instruct@awq",), {"gpu": ["2xRTX A6000"]}),
    (("Qwen/Qwen3-235B-A22B@fp8",), {"gpu": ["8xH100"]}),
    (("deepseek-ai/DeepSeek-V3",), {"gpu": ["8xH200"]}),
    (("Qwen/Qwen3-30B-A3B@fp8", "Qwen/Qwen3-14B"), {"gpu": ["MI300X"]}),
    (("Qwen/Qwen3-8B", "Qwen/Qwen3-8B@awq"), {"gpu": ["RTX 3090", "RTX 4090"]}),
    (("3xQwen/Qwen3-14B@awq",), {"gpu": ["2xRTX 4090"], "users": 2}),
    (("2xQwen/Qwen3-0.6B",), {"vram": "12GB"}),
    (("Qwen/Qwen3-1.7B", "Qwen/Qwen3-0.6B"), {"gpu": ["RTX 3060"], "reserved": "1GiB"}),
    (("2xmeta-llama/Llama-3.2-3B-Instruct",), {"gpu": ["RTX 4070"], "context": 32768, "users": 1}),
    (("Qwen/Qwen3-Next-80B-A3B-Instruct@fp8",), {"gpu": ["2xH100"]}),
    (("microsoft/phi-4", "Qwen/Qwen3-4B@fp8"), {"gpu": ["L40S"]}),
    (("Qwen/Qwen3-30B-A3B@int4",), {"gpu": ["RTX 4090"], "kv_dtype": "fp8"}),
    (("Qwen/Qwen3-8B", "Qwen/Qwen3-4B"), {"gpu": ["2xRTX 3090"], "nodes": 2}),
)
"""What is asked: models, and the words of ``rigfit plan``."""


@dataclass(frozen=True, slots=True)
class Made:
    """Files of the grid: ``name`` says what they are for; ``refused`` is why there are none."""

    name: str
    plan: Plan
    files: LaunchFiles | None
    refused: str = ""


@cache
def plans() -> tuple[tuple[str, Plan], ...]:
    """Return every plan of the grid with a name."""
    found: list[tuple[str, Plan]] = []
    for models, words in ASKED:
        plan = make_plan(resolve_arguments(list(models), **words))  # pyright: ignore[reportArgumentType]
        found.append((f"{' + '.join(models)} on {words}", plan))
    return tuple(found)


def options(plan: Plan) -> tuple[str, ...]:
    """Return the options that files are made for: the recommended one, and one more of each kind that fits."""
    kinds: dict[str, str] = {}
    for option in plan.options:
        if option.placement.verdict != "does_not_fit":
            kinds.setdefault(option.kind, option.id)
    asked = ("as_asked",) if plan.as_asked.verdict != "does_not_fit" else ()
    recommended = (plan.recommended,) if plan.placement().verdict != "does_not_fit" else ()
    return tuple(dict.fromkeys((*recommended, *asked, *kinds.values())))


def choices_of(target: str) -> Iterator[Choices]:
    """The default, and each other choice that the target honours on its own."""
    yield Choices()
    for name in TARGETS[target].choices:
        for word in ALLOWED.get(name, (False, True))[1:]:
            chosen: dict[str, Any] = {name: word}
            yield Choices(**chosen)


@cache
def made(target: str) -> tuple[Made, ...]:
    """Return the files of every plan for a target, unchecked: each option, and each choice for the recommended one."""
    found: list[Made] = []
    for name, plan in plans():
        for number, option in enumerate(options(plan)):
            for choices in choices_of(target) if not number else (Choices(),):
                label = f"{target}: {name}, option {option}, {choices}"
                try:
                    files = generate(plan, option=option, target=target, choices=choices, checked=False)
                    found.append(Made(label, plan, files))
                except RequestError as error:
                    found.append(Made(label, plan, None, str(error)))
    return tuple(found)


def accepted(target: str) -> tuple[Made, ...]:
    """Return those of ``made`` that have files."""
    return tuple(one for one in made(target) if one.files)
