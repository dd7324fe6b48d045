"""What an engine's container runs first: a program that waits for free memory and then becomes the engine.

vLLM refuses to start where less than its share of a card is free (``request_memory``, vllm/v1/worker/utils.py 0.32.0),
which shows only after its imports; the program says it at once. It asks as vLLM does, through the image's PyTorch.
"""

from __future__ import annotations

import json

from tools.launch import preflight
from tools.launch.job import Job, Unit


def program(job: Job) -> str:
    """Return the program, with its sentences in the job's language."""
    said = {
        **{word: job.say(f"launch_vllm.{word}", **_FIELDS) for word in ("no_room", "no_ram")},
        **{word: job.say(f"launch_compose.{word}") for word in ("no_card", "unread")},
    }
    return _PROGRAM.replace("@SAY@", json.dumps(said, ensure_ascii=False, indent=4))


def variables(job: Job, unit: Unit) -> dict[str, str]:
    """Return what the program reads from its environment."""
    if not job.choices.cpu:
        return {"CARDS": ",".join(map(str, unit.devices))}
    share = f"{job.units.index(unit) + 1}/{len(job.units)}"
    return {"SHARE_OF_CORES": share, "RAM_NEEDED": preflight.arguments(job, unit)[1]}


_FIELDS = {"card": "{card}", "free": "{free:.1f}", "total": "{total:.1f}", "need": "{need:.1f}"}

_PROGRAM = '''\
"""Become an engine once its memory is free: COMMAND [WORD ...]

On cards: waits up to half a minute until the share that the command asks for is free on each of them. Under WSL2, which
shows every card to every container, it keeps to its own (CARDS=0,1). On a processor (SHARE_OF_CORES=2/3: the second of
three engines) it looks at the RAM (RAM_NEEDED, in bytes) and binds the engine to its share of the cores.
"""
import json, os, subprocess, sys, time

SAY = @SAY@
GIB = 1 << 30
PROBE = """
import json, psutil, torch
def card(number):
    free, total = torch.cuda.mem_get_info(number)
    shared = torch.version.cuda and torch.cuda.get_device_properties(number).is_integrated
    return psutil.virtual_memory().available if shared else free, total  # as vLLM counts (utils/mem_utils.py)
print(json.dumps([card(number) for number in range(torch.cuda.device_count())]))
"""

def wanted_share(words):
    flag = "--gpu-memory-utilization="
    return float(next((word[len(flag):] for word in words if word.startswith(flag)), 0.92))  # vLLM's default

def cards():
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    if done.returncode:
        print(SAY["unread"], file=sys.stderr)
        return None
    return json.loads(done.stdout)

def missing(share):
    found = cards()
    if found == []:
        return SAY["no_card"]
    names = os.environ.get("CARDS", "").split(",")
    for number, (free, total) in enumerate(found or ()):
        if free < share * total:
            card = names[number] if number < len(names) else number
            return SAY["no_room"].format(card=card, free=free / GIB, total=total / GIB, need=share * total / GIB)
    return None

def wait_for_memory(share):
    until = time.monotonic() + float(os.environ.get("MEMORY_WAIT_S") or 30)
    while short := missing(share):
        if time.monotonic() >= until:
            sys.exit(short)
        time.sleep(5)

def look_at_ram(need):
    try:
        with open("/proc/meminfo") as lines:
            free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return
    if free < need:
        sys.exit(SAY["no_ram"].format(free=free / GIB, need=need / GIB))

def cores():
    """The first hardware thread of each core that this container may use."""
    allowed, seen, firsts = sorted(os.sched_getaffinity(0)), set(), []
    for cpu in allowed:
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") as siblings:
                core = siblings.read().strip()
        except OSError:
            core = str(cpu)
        if core not in seen:
            seen.add(core)
            firsts.append(cpu)
    return firsts

def share_of(firsts, number, count):
    if len(firsts) < count:
        return firsts
    size = len(firsts) // count
    mine = firsts[(number - 1) * size : number * size]
    return mine[:-1] if size >= 4 else mine  # one is left to the engine's own web server

words, share = sys.argv[1:], os.environ.get("SHARE_OF_CORES")
if share:
    look_at_ram(int(os.environ.get("RAM_NEEDED") or 0))
    number, count = map(int, share.split("/"))
    if not os.environ.get("VLLM_CPU_OMP_THREADS_BIND"):
        os.environ["VLLM_CPU_OMP_THREADS_BIND"] = ",".join(map(str, share_of(cores(), number, count)))
else:
    if os.path.exists("/dev/dxg") and os.environ.get("CARDS"):
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", os.environ["CARDS"])
    wait_for_memory(wanted_share(words))
os.execvp(words[0], words)
'''
