"""The tools an agent may call, as LangChain tools: short text for a model, plain data for the page.

Each takes what was said as explicit arguments, so rules and language models call them alike. ``given`` is filled in by
the graph from the conversation (its rig, language and last plan); no model ever sees or sets it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from importlib import resources
from typing import Annotated, Any, Literal

from langchain_core.tools import BaseTool, InjectedToolArg, StructuredTool
from pydantic import BaseModel, Field

from tools import tool_results as results
from tools.errors import BadValue, NothingFits
from tools.tool_text import fenced, for_a_model
from tools.workbench import Workbench

Given = Annotated[dict[str, Any], InjectedToolArg]
Result = tuple[str, dict[str, Any]]
Question = Literal[
    "fit", "memory_needed", "hardware_needed", "how_many_gpus", "max_context", "max_users", "max_copies", "which_quant",
    "which_model", "throughput", "config", "compare", "explain_error", "other",
]  # fmt: skip

MAX_ASKED = 120
"""Characters of a question that an answer repeats."""


class ModelArg(BaseModel):
    """A model as the user named it."""

    name: str | None = Field(None, description='Name or hub id as said, e.g. "Qwen3" or "Qwen/Qwen3-30B-A3B"')
    size_b: float | None = Field(None, description="Billions of parameters in total, if said")
    variant: str | None = Field(None, description="Other words of the name, e.g. Coder, Base, A22B")
    precision: str | None = Field(
        None, description="As said: bf16, fp8, int4, 4bit, AWQ, Q4_K_M; leave out if not said"
    )
    copies: int | None = Field(1, description="How many of it are to run")


class GpuArg(BaseModel):
    """A kind of card as the user named it."""

    name: str | None = Field(None, description='Name as said, e.g. "3090"')
    memory_gb: float | None = Field(None, description="Memory of one card, only if said")
    count: int | None = Field(1, description="How many of them, over all machines")
    unified: bool = Field(False, description="Memory shared with the CPU (Apple, Strix Halo, DGX Spark)")


class _Tools:
    """The tool functions over one workbench."""

    def __init__(self, bench: Workbench) -> None:
        self._bench = bench

    def look_up_specs(
        self, given: Given, models: list[ModelArg] | None = None, gpus: list[GpuArg] | None = None
    ) -> Result:
        asked = [m.model_dump() for m in models or []], [g.model_dump() for g in gpus or []]
        if not any(asked):
            raise BadValue("errors_agent.nothing_to_look_up")
        artifact = results.specs(self._bench, *asked)
        return for_a_model(artifact), artifact

    def search_web(self, given: Given, query: str, limit: int = 5) -> Result:
        found = self._bench.search(query, limit)
        hits, pages = [asdict(hit) for hit in found.hits], [asdict(page) for page in found.pages]
        return fenced(hits, pages), {"kind": "search", "query": query, "hits": hits, "pages": pages}

    def calculate_vram(
        self,
        given: Given,
        models: list[ModelArg] | None = None,
        gpus: list[GpuArg] | None = None,
        models_relation: Literal["together", "alternatives", "separate"] | None = None,
        gpus_relation: Literal["together", "alternatives", "separate"] | None = None,
        same_model: Annotated[
            bool | None, Field(description="Several copies are one model twice; leave out if unsaid")
        ] = None,
        context: Annotated[int | None, Field(description="Tokens a sequence")] = None,
        users: Annotated[int | None, Field(description="Sequences at once")] = None,
        ram_gb: float | None = None,
        reserved_gb: Annotated[float | None, Field(description="GPU memory others already use, per card")] = None,
        nodes: int | None = None,
        engine: str | None = None,
        kv_cache: Annotated[str | None, Field(description='Type of the KV cache as said, e.g. "fp8"')] = None,
        engines: Annotated[
            list[str] | None, Field(description="Engines to compare for one model; leave out otherwise")
        ] = None,
        use: Annotated[
            Literal["chat", "code", "long_context", "speed", "quality"] | None,
            Field(description="What a model is wanted for, where one is to be chosen; leave models out then"),
        ] = None,
        question: Question = "fit",
    ) -> Result:
        said = {
            "models": [m.model_dump() for m in models or []], "gpus": [g.model_dump() for g in gpus or []],
            "models_relation": models_relation, "gpus_relation": gpus_relation, "same_model": same_model,
            "context": context, "users": users, "ram_gb": ram_gb, "reserved_gb": reserved_gb, "nodes": nodes,
            "engine": engine, "kv_cache": kv_cache, "intent": question, "use": use,
            "engines": engines,
        }  # fmt: skip
        request = {"reading": {k: v for k, v in said.items() if v is not None}, "rig": given.get("rig")}
        artifact = results.calculation(self._bench, request, given.get("language", "en"))
        return for_a_model(artifact), artifact

    def generate_launch_config(
        self,
        given: Given,
        target: str = "compose",
        option: str | None = None,
        endpoint: Annotated[Literal["nginx", "gateway"] | None, Field(description="What stands in front")] = None,
        page: Annotated[Literal["none", "open-webui", "rigfit"] | None, Field(description="A chat page beside")] = None,
        share: Annotated[
            Literal["names", "weights"] | None, Field(description="How equal models share weights; leave out if unsaid")
        ] = None,
        sharing: Annotated[
            Literal["slices", "claims"] | None, Field(description="How Kubernetes shares a card; leave out if unsaid")
        ] = None,
        cpu: Annotated[bool | None, Field(description="Run on the processor, to try the files out")] = None,
        open: Annotated[bool | None, Field(description="Let other machines in, with an API key")] = None,
    ) -> Result:
        from tools.launch.choices import choices_from
        from tools.launch.generate import TARGETS, generate
        from tools.launch.kept import keep
        from tools.plan.serve_words import serve_line
        from tools.units import gib

        plan = self._bench.plan(given["plan"]) if given.get("plan") else None
        if plan is None:
            raise BadValue("errors_agent.no_plan")
        same_engine = target not in TARGETS or TARGETS[target].engine == plan.request.engine
        if plan.verdict == "does_not_fit" and same_engine:
            raise NothingFits("errors_agent.nothing_to_launch", missing=gib(plan.as_asked.deficit_bytes))
        said = {"endpoint": endpoint, "page": page, "share": share, "sharing": sharing, "cpu": cpu, "open": open}
        language = given.get("language", "en")
        made = generate(plan, option=option, target=target, language=language, choices=choices_from(said))
        kept = keep(made, self._bench.files_dir())
        artifact = {
            "kind": "files",
            "target": made.target,
            "option": made.option,
            "folder": str(kept.folder),
            "files": [str(p) for p in kept.paths],
            "names": [f.path for f in made.files],
            "checks": [{"name": c.name, "ok": c.ok, "detail": c.detail} for c in made.checks],
            "notes": [{"code": n.code, "params": dict(n.params)} for n in made.notes],
            "serve": serve_line(plan, made.option) if _is_served_here(TARGETS[made.target]) else None,
        }
        told = {k: artifact[k] for k in ("target", "option", "names", "checks", "notes", "serve")}
        return for_a_model(told), artifact

    def read_engine_log(
        self,
        given: Given,
        log: Annotated[str | None, Field(description="The log; leave out where the user pasted it")] = None,
        model: Annotated[str | None, Field(description="Model as the user named it, if said outside the log")] = None,
        gpu: Annotated[str | None, Field(description="Card as the user named it, if said outside the log")] = None,
        changes: Annotated[
            str | None, Field(description='Flags to compute with instead, e.g. "--gpu-memory-utilization 0.85"')
        ] = None,
    ) -> Result:
        from tools.logs.result import log_result

        artifact = log_result(
            given.get("log") or log or "",
            self._bench.models,
            self._bench.gpus,
            model=model,
            gpu=gpu,
            changes=changes,
            language=given.get("language", "en"),
        )
        return for_a_model({name: part for name, part in artifact.items() if name != "rows"}), artifact

    def explain_term(self, given: Given, question: str) -> Result:
        from tools.knowledge import entries, find

        language = "ru" if given.get("language") == "ru" else "en"
        found = [match.entry for match in find(question)]
        rows = [
            {
                "id": e.id,
                "title": e.title(language),
                "answer": e.answer[language],
                "sources": [{"title": s.title, "url": s.url, "read": s.read} for s in e.sources],
                "related": [entries()[key].title(language) for key in e.related],
                "about": [{"model": model} for model in e.models],
            }
            for e in found
        ]
        artifact = {"kind": "knowledge", "asked": question[:MAX_ASKED], "entries": rows}
        return json.dumps({"entries": rows}, ensure_ascii=False), artifact

    def detect_hardware(self, given: Given) -> Result:
        rig = self._bench.detect()
        artifact = {"kind": "hardware", "rig": self._bench.rig_json(rig) if rig else None}
        return for_a_model(artifact), artifact


def build_tools(bench: Workbench) -> list[BaseTool]:
    """Make the tools of a workbench; ``detect_hardware`` only where this machine may be looked at."""
    own = _Tools(bench)
    functions: list[Callable[..., Result]] = [
        own.look_up_specs, own.search_web, own.calculate_vram, own.generate_launch_config,
        own.read_engine_log, own.explain_term,
    ]  # fmt: skip
    if bench.can_detect:
        functions.append(own.detect_hardware)
    words = tomllib.loads((resources.files("prompts") / "llm" / "tools.toml").read_text(encoding="utf-8"))
    return [
        StructuredTool.from_function(
            f, name=f.__name__, description=words[f.__name__], response_format="content_and_artifact"
        )
        for f in functions
    ]


def _is_served_here(target: Any) -> bool:
    """Whether Rigfit itself can run what a target's files run: vLLM on one machine."""
    return target.engine == "vllm" and not target.cluster
