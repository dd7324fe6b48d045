"""Speed and size of Rigfit against their limits; prints a table, and exits 1 where a limit is missed.

Run it on an otherwise idle machine: ``make bench``.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.request import urlopen

ROOT = Path(__file__).parents[1]
RIGFIT = str(Path(sys.executable).parent / "rigfit")
PLAN = ["plan", "2xQwen/Qwen3-30B-A3B", "--gpu", "RTX PRO 6000", "--json"]
ESTIMATE = ["estimate", "Qwen/Qwen3-30B-A3B", "--gpu", "RTX PRO 6000", "--json"]
BATCH_MODELS = 100
QUESTION = "Will two Qwen3-30B run at once on an RTX PRO 6000?"
HEAVY = {"langgraph", "langchain_core", "gradio", "pydantic", "rich", "typer", "numpy", "huggingface_hub"}
RUNS = 7


class Row(NamedTuple):
    """One measurement; ``limit`` None = there is none."""

    what: str
    value: float | None
    limit: float | None
    unit: str


def main() -> int:
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RIGFIT_NETWORK": "off", "RIGFIT_DATA_DIR": folder}
        rows += [*plan_process(), *plan_inside(), *estimate_process(), *launch_files()]
        rows += [*rules_answer(), *page(), *gateway()]
    print(f"{'':66}{'measured':>12}{'limit':>12}")
    missed = False
    for row in rows:
        value = "not measured" if row.value is None else f"{row.value:.3g} {row.unit}"
        limit = "" if row.limit is None else f"{row.limit:.3g} {row.unit}"
        over = row.value is not None and row.limit is not None and row.value > row.limit
        missed |= over
        print(f"{row.what:66}{value:>12}{limit:>12}{'   missed' if over else ''}")
    return int(missed)


def median_s(work: Callable[[], object], runs: int = RUNS) -> float:
    """Return the median time of some runs, after one that is not counted."""
    work()
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def plan_process() -> Iterator[Row]:
    """The whole process ``rigfit plan``: time, memory, and what it imports that it should not."""
    took = median_s(lambda: subprocess.run([RIGFIT, *PLAN], check=True, capture_output=True))
    yield Row("rigfit plan, whole process", took, 0.20, "s")
    peak, modules = peak_and_modules(PLAN)
    yield Row("rigfit plan, peak memory", peak, 80, "MiB")
    yield Row("rigfit plan, heavy packages imported", len(HEAVY & modules), 0, "")


def peak_and_modules(words: list[str]) -> tuple[float, set[str]]:
    """Run a command in a process of its own; returns its peak memory in MiB and what it imported."""
    report = (
        "import sys, resource; from ui.cli import run; run(sys.argv[1:]);"
        "peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss;"
        "sys.stderr.write(f'{peak} ' + ' '.join(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", report, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    peak, *modules = done.stderr.split()
    return int(peak) / (1024 if sys.platform != "darwin" else 1 << 20), set(modules)


def estimate_process() -> Iterator[Row]:
    """One estimate, and a batch of 100 models in 10 settings each, as whole processes."""
    took = median_s(lambda: subprocess.run([RIGFIT, *ESTIMATE], check=True, capture_output=True))
    yield Row("rigfit estimate, whole process", took, 0.20, "s")
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl", encoding="utf-8") as batch:
        batch.writelines(json.dumps(row) + "\n" for row in batch_rows())
        batch.flush()
        words = ["estimate", "--batch", batch.name]
        took = median_s(lambda: subprocess.run([RIGFIT, *words], check=True, capture_output=True))
        yield Row("1,000 estimates, whole process", took, 1.0, "s")
        yield Row("1,000 estimates, peak memory", peak_and_modules(words)[0], 120, "MiB")


def batch_rows() -> Iterator[dict[str, object]]:
    """The 100 most downloaded models the calculator covers, each in ten settings."""
    from tools.specs.models import ModelCatalogue

    catalogue, models = ModelCatalogue.load(), list[str]()
    for name in catalogue.names():
        if catalogue.find(name).spec.layers:
            models.append(name)
        if len(models) == BATCH_MODELS:
            break
    for tp in (1, 2):
        for length in (4096, 8192, 16384, 32768, 65536):
            for model in models:
                yield {"model": model, "gpu": "H100", "tp": tp, "max_model_len": length}


def plan_inside() -> Iterator[Row]:
    """Planning the founding question, catalogues already open."""
    from tools.plan.planner import make_plan
    from tools.plan.resolve import resolve_arguments

    request = resolve_arguments(["2xQwen/Qwen3-30B-A3B"], gpu=["RTX PRO 6000"])
    yield Row("planning in process", 1000 * median_s(lambda: make_plan(request), 30), 20, "ms")


def launch_files() -> Iterator[Row]:
    from tools.launch.generate import TARGETS, generate
    from tools.plan.planner import make_plan
    from tools.plan.resolve import resolve_arguments

    plan = make_plan(resolve_arguments(["2xQwen/Qwen3-30B-A3B"], gpu=["RTX PRO 6000"]))

    def every_target() -> None:
        for target in TARGETS:
            generate(plan, target=target, checked=False)

    every_target()
    yield Row(f"launch files, all {len(TARGETS)} targets together", 1000 * median_s(every_target, 10), 150, "ms")


def rules_answer() -> Iterator[Row]:
    """A whole turn from send to last byte, in process."""
    from agent.session import Assistant
    from tools.settings import Settings

    async def turns() -> list[float]:
        times: list[float] = []
        async with Assistant.open(Settings.from_env(), rig=None) as assistant:
            for number in range(RUNS + 1):
                start = time.perf_counter()
                async for _ in assistant.ask(QUESTION, thread_id=f"bench-{number}"):
                    pass
                times.append(time.perf_counter() - start)
        return times

    times = asyncio.run(turns())
    yield Row("rules answer, first in the process", times[0], 0.3, "s")
    yield Row("rules answer, median", statistics.median(times[1:]), 0.3, "s")


def page() -> Iterator[Row]:
    """Start of the server, and what the first opening of the page transfers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    start = time.perf_counter()
    with served(port):
        while not answers(url):
            time.sleep(0.05)
        yield Row("server start", time.perf_counter() - start, 8, "s")
        size, took = first_load(url)
        yield Row("first page load, transferred", None if size is None else size / 1000, 450, "kB")
        yield Row("first page load, until it can be used", took, None, "s")


@contextmanager
def served(port: int) -> Iterator[None]:
    """Run the page in a child process."""
    process = subprocess.Popen([RIGFIT, "ui", "--port", str(port)], stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(15)


def answers(url: str) -> bool:
    """Tell whether the server answers."""
    try:
        with urlopen(url, timeout=1):
            return True
    except OSError:
        return False


def first_load(url: str) -> tuple[float | None, float | None]:
    """Open the page in an empty browser; returns bytes on the wire and seconds, or None where there is no browser."""
    found = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    from playwright.sync_api import Error, sync_playwright

    with sync_playwright() as playwright:
        try:
            quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
            browser = playwright.chromium.launch(executable_path=found, args=quiet)
        except Error:
            return None, None
        tab = browser.new_page()
        protocol = tab.context.new_cdp_session(tab)
        protocol.send("Network.enable")
        sizes: list[float] = []
        protocol.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
        start = time.perf_counter()
        tab.goto(url)
        tab.wait_for_selector("#rf-box textarea")
        took = time.perf_counter() - start
        tab.wait_for_timeout(2000)
        browser.close()
    return sum(sizes), took


def gateway() -> Iterator[Row]:
    """The gateway beside a direct call."""
    import bench_gateway

    return (Row(*measured) for measured in bench_gateway.rows())


if __name__ == "__main__":
    sys.exit(main())
