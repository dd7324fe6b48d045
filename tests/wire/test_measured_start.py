"""A start is measured from its log and a live ``/metrics``, and what a card taught makes the next plan nearer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from serving.engine_metrics import MOST_BYTES, CacheInfo, read_cache_info
from serving.measured import StartUp
from serving.measuring import Measuring
from serving.spec import EngineSpec, specs
from tools.calibrations import FILE, Calibrations
from tools.domain import Footprint, Gpu, InstanceRequest, Note, Plan, PlanRequest, Rig
from tools.launch.choices import Choices
from tools.launch.job import prepare
from tools.plan.measured import with_own
from tools.plan.planner import make_plan
from tools.specs.detect import gpu_of
from tools.specs.gpus import GpuCatalogue
from tools.specs.models import ModelCatalogue
from tools.specs.probes import Card
from tools.units import GIB, MIB

FIXTURES = Path(__file__).parents[1] / "fixtures"
METRICS = (FIXTURES / "starts" / "vllm-0.32-cpu.metrics").read_text(encoding="utf-8")
CARD_LOG = FIXTURES / "logs" / "vllm-0.32-fits.log"
"""Qwen3-8B on an RTX 3090."""
CPU_LOG = FIXTURES / "starts" / "vllm-0.32-cpu.log"
KEY = "only-for-this-test"
WITH_SET_POOL = """\
(APIServer pid=1) INFO 11-20 09:14:02 [api_utils.py:347] █  version 0.32.0
(Worker pid=3) INFO 11-20 09:14:35 [gpu_model_runner.py:5150] Model loading took 15.4 GiB memory and 4.911402 seconds
(Worker pid=3) INFO 11-20 09:14:59 [gpu_worker.py:670] Initial free memory 23.19 GiB, reserved 4.5 GiB memory for KV \
Cache as specified by kv_cache_memory_bytes config and skipped memory profiling. This does not respect the \
gpu_memory_utilization config.
(EngineCore pid=2) INFO 11-20 09:14:59 [kv_cache_utils.py:2327] GPU KV cache size: 32,768 tokens, Maximum concurrency \
for 8,192 tokens per request: 4.00x
(Worker pid=3) INFO 11-20 09:15:11 [gpu_model_runner.py:6582] Graph capturing finished in 9 secs, took 0.17 GiB
"""
"""As an engine of a plan prints it, whose pool is set: nothing is profiled."""
QWEN = ModelCatalogue.load().find("Qwen/Qwen3-8B").spec
CARD = GpuCatalogue.load().find("RTX 3090").gpu


def plan_for(card: Gpu, kept: Path | None = None) -> Plan:
    request = PlanRequest((InstanceRequest(QWEN, "bf16"),), Rig((card,)))
    return make_plan(with_own(request, Calibrations(kept).measured() if kept else ()))


def spec_for(plan: Plan, *, cpu: bool = False, url_port: int = 1, key: str | None = None) -> EngineSpec:
    job = prepare(plan, "as_asked", "en", choices=Choices(cpu=cpu))[0]
    return specs(job, command=Path("/opt/vllm/bin/vllm"), ports=[url_port], key=key)[0]


def footprint_of(plan: Plan) -> Footprint:
    return plan.as_asked.instances[0].footprint


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def metrics_from(handler: Handler) -> AsyncIterator[int]:
    app = web.Application()
    app.router.add_get("/metrics", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def real(request: web.Request) -> web.StreamResponse:
    if request.headers.get("Authorization") != f"Bearer {KEY}":
        return web.Response(status=401)
    return web.Response(text=METRICS)


def measure(spec: EngineSpec, log: Path, kept: Path | None, say: Callable[[Note], None] | None = None) -> StartUp:
    found = asyncio.run(Measuring(kept, say=say).measure(spec, log))
    assert found is not None
    return found


def test_the_log_and_the_metrics_are_read_together(tmp_path: Path) -> None:
    async def run() -> StartUp | None:
        async with metrics_from(real) as port:
            spec = spec_for(plan_for(CARD), cpu=True, url_port=port, key=KEY)
            return await Measuring(tmp_path).measure(spec, CPU_LOG)

    start = asyncio.run(run())
    assert start is not None
    assert start.row("kv_pool_tokens").source == "metrics"
    assert start.row("kv_pool_tokens").measured == 131_072
    assert start.row("load_s").source == "log"
    assert not (tmp_path / FILE).exists()  # the processor says nothing of a card


def test_what_a_start_measured_makes_the_next_plan_nearer(tmp_path: Path) -> None:
    before = plan_for(CARD)
    start = measure(spec_for(before), CARD_LOG, tmp_path)
    after = footprint_of(plan_for(CARD, tmp_path))
    weights = start.row("weights_bytes").measured
    assert weights == round(15.28 * GIB)
    first = footprint_of(before)
    assert abs(after.weights_bytes - 15.28 * GIB) < abs(first.weights_bytes - 15.28 * GIB)
    non_torch = start.row("non_torch_bytes").measured
    assert non_torch is not None
    off = [abs(one.context_bytes.value - 0.5 * GIB - non_torch) for one in (after, first)]
    assert off[0] < off[1]
    assert {after.provenance[name] for name in ("weights_bytes", "context_bytes")} == {"measured"}
    again = measure(spec_for(plan_for(CARD, tmp_path)), CARD_LOG, tmp_path)
    assert again.row("weights_bytes").difference == 0


def test_the_same_start_is_kept_once_and_another_figure_takes_its_place(tmp_path: Path) -> None:
    spec, kept = spec_for(plan_for(CARD)), Calibrations(tmp_path)
    for _ in range(3):
        measure(spec, CARD_LOG, tmp_path)
    stamp = kept.stamp()
    measure(spec, CARD_LOG, tmp_path)
    assert kept.stamp() == stamp  # nothing new: what is remembered of plans stays valid
    assert len(kept.measured()) == 1
    other = tmp_path / "other.log"
    other.write_text(CARD_LOG.read_text(encoding="utf-8").replace("took 15.28 GiB", "took 15.31 GiB"))
    measure(spec, other, tmp_path)
    assert [one.weights_bytes for one in kept.measured()] == [round(15.31 * GIB)]


def test_a_start_that_tells_less_does_not_wipe_out_what_was_known(tmp_path: Path) -> None:
    """An engine whose pool is set profiles nothing; what a profiling start of the same deployment told stays."""
    spec = spec_for(plan_for(CARD))
    measure(spec, CARD_LOG, tmp_path)
    short = tmp_path / "short.log"
    short.write_text(WITH_SET_POOL)
    for _ in range(2):
        measure(spec, short, tmp_path)
    newest, rich = Calibrations(tmp_path).measured()
    assert newest.weights_bytes == round(15.4 * GIB)
    assert newest.activation_bytes is None
    assert newest.graphs_bytes is None  # captured, and this version charges an estimate
    assert rich.activation_bytes is not None
    planned = footprint_of(plan_for(CARD, tmp_path))
    assert planned.weights_bytes == newest.weights_bytes
    assert planned.activation_bytes.value == rich.activation_bytes


def test_a_card_that_its_driver_names_otherwise_is_known_by_both_names(tmp_path: Path) -> None:
    driver = Card("NVIDIA H100 80GB HBM3", 81559 * MIB, 0, "9.0")
    found = gpu_of(driver, "nvidia", None, GpuCatalogue.load())
    assert found is not None
    measure(spec_for(plan_for(found)), CARD_LOG, tmp_path)
    (one,) = Calibrations(tmp_path).measured()
    named = GpuCatalogue.load().find("H100 SXM").gpu
    assert one.card == named.name != found.name
    for card in (found, named):
        assert footprint_of(plan_for(card, tmp_path)).weights_bytes == one.weights_bytes


def test_a_folder_that_takes_nothing_is_said_and_the_figures_are_there(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    notes: list[Note] = []
    start = measure(spec_for(plan_for(CARD)), CARD_LOG, blocked / "data", notes.append)
    assert start.row("weights_bytes").measured
    assert [one.code for one in notes] == ["measured.not_kept"]


def test_nothing_is_kept_where_that_is_not_wanted_or_nothing_was_measured(tmp_path: Path) -> None:
    spec = spec_for(plan_for(CARD))
    assert measure(spec, CARD_LOG, None).row("weights_bytes").measured
    bare = tmp_path / "bare.log"
    bare.write_text("(APIServer pid=1) INFO 11-20 09:14:02 [api_utils.py:347] vLLM API server version 0.32.0\n")
    assert measure(spec, bare, tmp_path).row("weights_bytes").measured is None
    other = tmp_path / "other.log"
    other.write_text(CARD_LOG.read_text(encoding="utf-8").replace("took 15.28 GiB", "took 1528 GiB"))
    measure(spec, other, tmp_path)
    unnamed = replace(spec, unit=replace(spec.unit, gpus=()))
    measure(unnamed, CARD_LOG, tmp_path)
    assert not (tmp_path / FILE).exists()


async def too_much(request: web.Request) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    line = b"x 1.0\n" * 20_000
    for _ in range(MOST_BYTES // len(line) + 2):
        await answer.write(line)
    return answer


async def elsewhere(request: web.Request) -> web.StreamResponse:
    raise web.HTTPFound("/metrics")


async def binary(request: web.Request) -> web.StreamResponse:
    return web.Response(body=b"\xff\xfe" * 500)


@pytest.mark.parametrize("handler", [real, too_much, elsewhere, binary])
def test_an_answer_that_is_no_metrics_says_nothing(handler: Handler) -> None:
    async def run() -> CacheInfo | None:
        async with metrics_from(handler) as port:
            return await read_cache_info(f"http://127.0.0.1:{port}", "a wrong key")

    assert asyncio.run(run()) is None


def test_an_engine_that_is_gone_leaves_its_log(tmp_path: Path) -> None:
    start = measure(spec_for(plan_for(CARD)), CARD_LOG, None)
    assert {row.source for row in start.rows} <= {"log", None}
    assert asyncio.run(Measuring(None).measure(spec_for(plan_for(CARD)), tmp_path / "none.log")) is None
