"""A small program that runs before an engine: is its share of each card free, and is the driver new enough?

vLLM refuses to start where less than its share is free (``request_memory``, vllm/v1/worker/utils.py 0.32.0), which
shows only after its imports; the program says it at once and with numbers. Where the maker's tool is absent it says
nothing.
"""

from __future__ import annotations

import json
import math

from tools.launch import pins
from tools.launch.argv.vllm import cpu_cache_bytes
from tools.launch.job import Job, Unit
from tools.units import GIB

ON_CPU_BYTES = 5 * GIB // 2
"""What an engine takes on the processor beside weights and cache: four processes, 2.4 GiB with a model of 7 MB."""

DEFAULT_SHARE = 0.92
"""``gpu_memory_utilization`` where none is set (vllm/config/cache.py 0.32.0)."""

_PROGRAM = '''\
"""Before an engine starts: MAKER CARDS SHARE [DRIVER]; or: cpu BYTES"""
import json, shutil, subprocess, sys, time

SAY = @SAY@
GIB = 1 << 30

def ask(*words):
    """What a tool prints, nothing where it is absent or fails."""
    if not shutil.which(words[0]):
        return ""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout if done.returncode == 0 else ""

def nvidia():
    """(free, total) by card, in bytes, and the driver; a card that shares the machine's memory tells neither."""
    query = "--query-gpu=index,memory.free,memory.total,driver_version"
    found, driver = {}, ""
    for line in ask("nvidia-smi", query, "--format=csv,noheader,nounits").splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) == 4 and all(part.isdigit() for part in parts[:3]):
            found[parts[0]] = (int(parts[1]) << 20, int(parts[2]) << 20)
            driver = parts[3]
    return found, driver

def amd():
    try:
        rows = json.loads(ask("rocm-smi", "--showmeminfo", "vram", "--json"))
        return {name.removeprefix("card"): (int(row["VRAM Total Memory (B)"]) - int(row["VRAM Total Used Memory (B)"]),
                int(row["VRAM Total Memory (B)"])) for name, row in rows.items() if name.startswith("card")}, ""
    except (ValueError, KeyError, AttributeError):
        return {}, ""

def short_of(maker, cards, share):
    found, driver = {"nvidia": nvidia, "amd": amd}[maker]()
    for card in cards:
        free, total = found.get(card, (0, 0))
        if total and free < share * total:
            need = share * total
            return SAY["no_room"].format(card=card, free=free / GIB, total=total / GIB, need=need / GIB), driver
    return "", driver

def on_cards(maker, cards, share, floor="0"):
    for again in range(6, 0, -1):  # what has just ended may hold its memory for some seconds
        short, driver = short_of(maker, cards.split(","), float(share))
        if not short or again == 1:
            break
        time.sleep(5)
    major = driver.partition(".")[0]
    if major.isdigit() and int(major) < int(floor):
        print(SAY["old_driver"].format(driver=driver, floor=floor), file=sys.stderr)
    sys.exit(short or 0)

def on_processor(need):
    try:
        with open("/proc/meminfo") as lines:
            free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError, IndexError):
        return
    if free < int(need):
        sys.exit(SAY["no_ram"].format(free=free / GIB, need=int(need) / GIB))

if sys.argv[1] == "cpu":
    on_processor(sys.argv[2])
else:
    on_cards(*sys.argv[1:])
'''


def program(job: Job) -> str:
    """Return the program, with its sentences in the job's language."""
    words = ("no_room", "old_driver", "no_ram")
    said = {word: _as_template(job, word) for word in words}
    return _PROGRAM.replace("@SAY@", json.dumps(said, ensure_ascii=False))


def arguments(job: Job, unit: Unit) -> list[str]:
    """Return the program's words for an engine."""
    footprint, deployment = unit.instance.footprint, unit.instance.deployment
    if job.choices.cpu:
        return ["cpu", str(footprint.parameter_bytes + cpu_cache_bytes(unit.instance) + ON_CPU_BYTES)]
    share = deployment.gpu_memory_utilization or DEFAULT_SHARE
    gpu = unit.gpus[0] if unit.gpus else None
    total = gpu.cuda_total_bytes if gpu else 0
    if deployment.weights_elsewhere and total:  # what the daemon holds is part of the share and there already
        share = max(0.0, share - footprint.weights_bytes / total)
    if gpu:  # the engine's total is a little below the driver's, which the tools show
        share *= total / gpu.memory_bytes
    # downwards: a check that fails must be right
    words = [unit.vendor, ",".join(map(str, unit.devices)), f"{math.floor(share * 10_000) / 10_000:.4f}"]
    return [*words, pins.NVIDIA_DRIVER] if unit.vendor == "nvidia" else words


def _as_template(job: Job, word: str) -> str:
    """A message whose placeholders are filled when the program runs."""
    fields = ("card", "free", "total", "need", "driver", "floor")
    return job.say(f"launch_vllm.{word}", **{name: "{" + name + _FORMATS.get(name, "") + "}" for name in fields})


_FORMATS = {"free": ":.1f", "total": ":.1f", "need": ":.1f"}
