"""Runs the gateway and, where ``make bench PEERS=1`` installed them, the routers that it is measured beside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import psutil
from bench_net import KEY, PLAIN, Caller, free_port, wait_for

RIGFIT = str(Path(sys.executable).parent / "rigfit")
PEERS = Path(__file__).parents[1] / ".bench" / "bin"


@contextmanager
def gateway(*behind: int, words: tuple[str, ...] = ()) -> Iterator[tuple[int, psutil.Process]]:
    """Run the gateway, where there are two engines with turns between them; yields its port and process."""
    port = free_port()
    command = [RIGFIT, "gateway", "--port", str(port), "--residency", "swap" if len(behind) > 1 else "together", *words]
    command += [f"--upstream={name}=http://127.0.0.1:{engine}" for name, engine in zip("mn", behind, strict=False)]
    with _running(command, port) as process:
        yield port, process


@contextmanager
def vllm_router(behind: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run vllm-router by model name, which it does with ``--enable-igw`` and workers that it is told of afterwards."""
    port, metrics = free_port(), free_port()
    command = [str(PEERS / "vllm-router"), "--enable-igw", "--host", "127.0.0.1", "--port", str(port)]
    with _running([*command, "--prometheus-port", str(metrics)], port) as process:
        worker = json.dumps({"url": f"http://127.0.0.1:{behind}", "model_id": "m"}).encode()
        asked = Request(f"http://127.0.0.1:{port}/workers", worker, {"Content-Type": "application/json"})
        with urlopen(asked, timeout=10):
            pass
        _until_it_answers(port)
        yield port, process


@contextmanager
def litellm(behind: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run LiteLLM's proxy with its defaults: one worker, no database."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "litellm.yaml"
        asked = {"model": "hosted_vllm/m", "api_base": f"http://127.0.0.1:{behind}/v1", "api_key": "none"}
        models = {"model_list": [{"model_name": "m", "litellm_params": asked}]}
        config.write_text(json.dumps(models | {"general_settings": {"master_key": "os.environ/LITELLM_MASTER_KEY"}}))
        command = [str(PEERS / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port)]
        more = {"LITELLM_MASTER_KEY": KEY, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_TELEMETRY": "False"}
        with _running([*command, "--telemetry", "False"], port, more) as process:
            _until_it_answers(port)
            yield port, process


def installed() -> bool:
    """Tell whether the other routers are there."""
    return (PEERS / "litellm").exists() and (PEERS / "vllm-router").exists()


def memory_mib(process: psutil.Process) -> float:
    """Return the memory of a process and of those it started."""
    return sum(one.memory_info().rss for one in (process, *process.children(recursive=True))) / (1 << 20)


@contextmanager
def _running(command: list[str], port: int, more: dict[str, str] | None = None) -> Iterator[psutil.Process]:
    environment = os.environ | (more or {})
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment)
    try:
        wait_for(port, 60)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(40)


def _until_it_answers(port: int) -> None:
    """Wait for the first good answer: routers listen before they know their engines."""
    for _ in range(100):
        try:
            Caller(port).ask(PLAIN)
        except (AssertionError, OSError, URLError, ValueError):
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(port)
