"""A stand-in for the ``vllm`` command: vLLM's log lines, routes and ways to fail, without a model.

``install(folder)`` makes ``folder/vllm``; ``faults.json`` beside it says what each engine does (by served name, ``*``
for all), read anew at each start::

    {"a": {"load_s": 0.5, "fail": "memory", "times": 1}}

``load_s``: how long the start takes (0.05). ``fail``: ``memory``, ``cache``, ``oom``, ``model``, ``flag``, ``silent``;
``times``: only at the first so many starts. ``die_after_s`` with ``die`` (a signal's name, or a status): ends by itself
after it was ready. ``hang_after_s``: answers nothing from then on. ``ignore_term``: SIGTERM does nothing; ``term_s``:
its end takes so long.
``children``: child processes; ``escape``: they lead sessions of their own and ignore SIGTERM. ``sleepless``: no sleep
routes. ``noise_bytes``: written before the first line. ``names``: what it lists instead. ``token_status``: of its
answers to requests. ``sleep_s``, ``wake_s``, ``fail_wakes``, ``fail_sleeps``: as in ``SimulatedEngine``.

``events.jsonl`` beside it records what happened: ``{"at": TIME, "name": ..., "pid": ..., "what": "start"}``; ``what``
is ``start``, ``ready``, ``sleep``, ``wake``, ``term`` or ``end``. The folder is all that it knows: no environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from simulated_engine import SimulatedEngine

STUBBORN = "import signal,time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(60)"
PLAIN = "import time\nwhile True: time.sleep(60)"


def install(folder: Path, faults: Mapping[str, Mapping[str, Any]] | None = None) -> Path:
    """Make the command ``vllm`` in a folder; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    command = folder / "vllm"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{Path(__file__).resolve()}" "{folder}" "$@"\n')
    command.chmod(0o755)
    python = folder / "python"
    if not python.exists():
        python.symlink_to(sys.executable)
    set_faults(folder, faults or {})
    return command


def set_faults(folder: Path, faults: Mapping[str, Mapping[str, Any]]) -> None:
    """Say what engines do at their next start."""
    (folder / "faults.json").write_text(json.dumps(faults))


def events(folder: Path, *what: str) -> list[dict[str, Any]]:
    """Return what happened, in order; of some kinds only where they are named."""
    file = folder / "events.jsonl"
    found = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    return [event for event in found if not what or event["what"] in what]


@dataclass
class Program(SimulatedEngine):
    """The simulated engine as a process of its own, with several names and vLLM's answers to a completion."""

    names: Sequence[str] = ()
    key: str | None = None
    folder: Path = field(default_factory=Path)
    faults: Mapping[str, Any] = field(default_factory=dict)

    def note(self, what: str) -> None:
        line = json.dumps({"at": time.time(), "name": self.name, "pid": os.getpid(), "what": what}) + "\n"
        with (self.folder / "events.jsonl").open("a") as file:
            file.write(line)

    async def _models(self, request: web.Request) -> web.Response:
        listed = self.faults.get("names", self.names)
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in listed]})

    async def _answer(self, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        if body.get("model") not in self.names:
            error = {"message": f"The model `{body.get('model')}` does not exist.", "code": 404}
            return web.json_response({"error": error}, status=404)
        return await super()._answer(request, {"status": self.faults.get("token_status", 200), **body})

    @web.middleware
    async def _hang(self, request: web.Request, handler: Any) -> web.StreamResponse:
        said = request.headers.get("Authorization")
        if self.key and request.path.startswith("/v1") and said != f"Bearer {self.key}":
            return web.json_response({"error": "Unauthorized"}, status=401)
        while self.hung:
            await asyncio.sleep(0.01)
        if request.path == "/metrics":
            return self._metrics()
        answer = await handler(request)
        if request.path in {"/sleep", "/wake_up"} and answer.status == 200:
            self.note("sleep" if request.path == "/sleep" else "wake")
        return answer

    def _metrics(self) -> web.Response:
        labels = 'block_size="128",num_gpu_blocks="64",kv_cache_size_tokens="8192",kv_cache_max_concurrency="2.0"'
        lines = (
            f'vllm:cache_config_info{{{labels},engine="0"}} 1.0',
            f'vllm:num_requests_running{{engine="0",model_name="{self.name}"}} {float(self.active)}',
            f'vllm:num_requests_waiting{{engine="0",model_name="{self.name}"}} 0.0',
        )
        return web.Response(text="\n".join(lines) + "\n")


def words_after(argv: Sequence[str], flag: str) -> list[str]:
    """The words between a flag and the next one."""
    found: list[str] = []
    for word in argv[argv.index(flag) + 1 :] if flag in argv else ():
        if word.startswith("--"):
            break
        found.append(word)
    return found


def say(text: str, who: str = "APIServer") -> None:
    sys.stdout.write(f"({who} pid={os.getpid()}) INFO 11-23 19:00:00 [stand_in.py:1] {text}\n")
    sys.stdout.flush()


FAILURES: Mapping[str, tuple[str, int]] = {
    "memory": (
        "ValueError: Free memory on device cuda:0 (4.00/24.00 GiB) on startup is less than desired GPU memory "
        "utilization (0.5, 12.00 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes.",
        1,
    ),
    "cache": (
        "ValueError: To serve at least one request with the model's max seq len (8192), (1.00 GiB KV cache is needed, "
        "which is larger than the available KV cache memory (0.50 GiB). Based on the available memory, the estimated "
        "maximum model length is 4096.",
        1,
    ),
    "oom": (
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 23.99 "
        "GiB of which 1.00 GiB is free.",
        1,
    ),
    "model": (
        "OSError: nobody/nothing is not a local folder and is not a valid model identifier listed on the hub",
        1,
    ),
    "flag": ("vllm: error: unrecognized arguments: --no-such-flag", 2),
    "silent": ("", 1),
}


def starts_so_far(folder: Path, name: str) -> int:
    return sum(event["name"] == name for event in events(folder, "start"))


def loading(load_s: float, fail: str | None) -> bool:
    """Say what a start says, as far as it comes; returns whether it comes through."""
    if fail == "flag":
        return False
    say("vLLM API server version 0.32.0")
    if fail in {"model", "memory", "silent"}:
        return False
    say("Starting to load model stand-in...", "Worker")
    if fail == "oom":
        return False
    for percent in (0, 50, 100):
        bar = f"Loading safetensors checkpoint shards: {percent:3d}% Completed | {percent // 50}/2 [00:00<?, ?it/s]"
        sys.stdout.write(f"\r{bar}")
        sys.stdout.flush()
        time.sleep(load_s / 4)
    sys.stdout.write("\n")
    say("Loading weights took 0.10 seconds", "Worker")
    say("Model loading took 1.00 GiB memory and 0.200000 seconds", "Worker")
    time.sleep(load_s / 4)
    say("Available KV cache memory: 4.00 GiB", "Worker")
    if fail == "cache":
        return False
    say("GPU KV cache size: 8,192 tokens, Maximum concurrency for 4,096 tokens per request: 2.00x", "EngineCore")
    say("init engine (profile, create kv cache, warmup model) took 0.30 s", "EngineCore")
    return True


def children(faults: Mapping[str, Any]) -> None:
    for _ in range(faults.get("children", 0)):
        program = STUBBORN if faults.get("escape") else PLAIN
        subprocess.Popen([sys.executable, "-c", program], start_new_session=bool(faults.get("escape")))


async def serve(program: Program) -> None:
    faults, ended = program.faults, asyncio.Event()
    loop = asyncio.get_running_loop()

    def term() -> None:
        program.note("term")
        if not faults.get("ignore_term"):
            loop.call_later(faults.get("term_s", 0.0), ended.set)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, term)
    await program.start()
    say(f"Starting vLLM server on {program.url}")
    say("Application startup complete.")
    program.note("ready")
    if "hang_after_s" in faults:
        loop.call_later(faults["hang_after_s"], setattr, program, "hung", True)
    if "die_after_s" in faults:
        loop.call_later(faults["die_after_s"], die, faults.get("die", "SIGKILL"))
    await ended.wait()
    await program.stop()
    program.note("end")


def die(how: str | int) -> None:
    if isinstance(how, int):
        os._exit(how)
    os.kill(os.getpid(), signal.Signals[how])


def main() -> int:
    folder, argv = Path(sys.argv[1]), sys.argv[2:]
    names = words_after(argv, "--served-model-name") or argv[1:2]
    all_faults = json.loads((folder / "faults.json").read_text())
    faults = {**all_faults.get("*", {}), **all_faults.get(names[0], {})}
    asked = {name: faults[name] for name in ("sleep_s", "wake_s", "fail_wakes", "fail_sleeps") if name in faults}
    program = Program(
        name=names[0],
        names=names,
        key=os.environ.get("VLLM_API_KEY"),
        can_sleep=os.environ.get("VLLM_SERVER_DEV_MODE") == "1" and not faults.get("sleepless"),
        port=int(words_after(argv, "--port")[0]),
        folder=folder,
        faults=faults,
        **asked,
    )
    before = starts_so_far(folder, program.name)
    program.note("start")
    children(faults)
    sys.stdout.write("x" * faults.get("noise_bytes", 0))
    fail = faults.get("fail") if before < faults.get("times", 1 << 30) else None
    if not loading(faults.get("load_s", 0.05), fail):
        text, status = FAILURES[str(fail)]
        sys.stderr.write(text + "\n")
        program.note("end")
        return status
    asyncio.run(serve(program))
    return 0


if __name__ == "__main__":
    sys.exit(main())
