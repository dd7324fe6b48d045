"""llama.cpp's and Ollama's scripts run for real, with small programs in place of the engines."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import make_gguf, make_llama, make_plan  # pyright: ignore[reportMissingImports]

from tools.domain import Plan
from tools.launch import job
from tools.launch.generate import generate, write
from tools.launch.targets import ollama as ollama_target

pytestmark = pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")

LLAMA_SERVER = '''\
#!{python}
"""Answers /health half a second after it was started as `llama-server ... --port N`."""
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

began = time.time()
with open({journal!r}, "a") as journal:
    print(json.dumps([sys.argv[1:], os.environ.get("CUDA_VISIBLE_DEVICES"), os.getpid()]), file=journal)
if "broken" in sys.argv:
    sys.exit("ggml_backend_cuda_buffer_type_alloc_buffer: allocating 4096.00 MiB on device 0: cudaMalloc failed")

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if time.time() - began > 0.5 else 503)
        self.end_headers()

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", int(sys.argv[sys.argv.index("--port") + 1])), Handler).serve_forever()
'''

OLLAMA = '''\
#!{python}
"""`ollama serve` answers /api/version; other commands are written down; `ps` says what `processor` beside it holds."""
import json, os, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

host, port = os.environ["OLLAMA_HOST"].split(":")
if sys.argv[1] == "ps":
    print("NAME    ID    SIZE    PROCESSOR    CONTEXT    UNTIL")
    for line in open({journal!r}):
        words, settings = json.loads(line)
        if words[0] == "run" and settings["OLLAMA_HOST"] == os.environ["OLLAMA_HOST"]:
            print(words[1] + ":latest    abc    5 GB    " + open({processor!r}).read() + "    8192    Forever")
    sys.exit()
if sys.argv[1] == "show":
    sys.exit(1)
with open({journal!r}, "a") as journal:
    settings = {{name: value for name, value in os.environ.items() if name.startswith(("OLLAMA", "CUDA"))}}
    print(json.dumps([sys.argv[1:], settings]), file=journal)
if sys.argv[1] != "serve":
    sys.exit()

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args):
        pass

ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
'''


class Stage:
    """A folder with the files of a plan, and a PATH with stand-ins."""

    def __init__(self, folder: Path, plan: Plan, target: str) -> None:
        self.home, self.folder, self.journal, self.tools = folder, folder / "files", folder / "journal", folder / "bin"
        write(generate(plan, target=target, checked=False), self.folder)
        self.tools.mkdir()
        self.processor = folder / "processor"
        self.processor.write_text("100% GPU")
        places = {"python": sys.executable, "journal": str(self.journal), "processor": str(self.processor)}
        self.add("llama-server", LLAMA_SERVER.format(**places))
        self.add("ollama", OLLAMA.format(**places))
        self.add("nvidia-smi", "#!/bin/sh\nexit 1\n")
        self.process: subprocess.Popen[str] | None = None

    def add(self, name: str, program: str) -> None:
        (self.tools / name).write_text(program)
        (self.tools / name).chmod(0o755)

    def start(self, *words: str) -> subprocess.Popen[str]:
        env = {"PATH": f"{self.tools}:{os.environ['PATH']}", "HOME": str(self.home)}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            ["./start-all.sh", *words], cwd=self.folder, env=env, stdout=pipe, stderr=pipe, text=True, process_group=0
        )
        return self.process

    def fails(self, *words: str) -> str:
        process = self.start(*words)
        out, err = process.communicate(timeout=60)
        assert process.returncode not in {0, 130}, out + err
        return err

    def until(self, line: str) -> str:
        assert self.process
        assert self.process.stdout
        seen = ""
        for text in self.process.stdout:
            seen += text
            if line in text:
                return seen
        raise AssertionError(seen + (self.process.stderr.read() if self.process.stderr else ""))

    def clear(self) -> None:
        """End what is left after a failed test: engines share the script's process group."""
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.communicate(timeout=20)

    def rows(self) -> list[list[object]]:
        return [json.loads(line) for line in self.journal.read_text().splitlines()] if self.journal.exists() else []

    def stop(self) -> int:
        assert self.process
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate(timeout=20)
        return self.process.returncode


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> int:
    """The first of two free ports, where the plan's engines are to listen."""
    first = 29_100 + 200 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base = next(port for port in range(first, first + 200, 2) if not is_open(port) and not is_open(port + 1))
    monkeypatch.setattr(job, "FIRST_PORT", base)
    monkeypatch.setattr(ollama_target, "FIRST_PORT", base)
    return base


Stages = Callable[..., Stage]


@pytest.fixture
def stages(tmp_path: Path, port: int) -> Iterator[Stages]:
    made: list[Stage] = []

    def make(plan: Plan, target: str = "llamacpp") -> Stage:
        made.append(Stage(tmp_path, plan, target))
        return made[-1]

    yield make
    for stage in made:
        stage.clear()


def pair(second: str = "b", engine: str = "llama.cpp", *, awake: bool = True, **changes: object) -> Plan:
    other = make_llama("b", (second,), engine=engine, checkpoint=make_gguf(kind="Q8_0"), **changes)
    return make_plan(make_llama("a", ("a",), engine=engine), replace(other, start_order=1, awake=awake), engine=engine)


def test_engines_start_in_order_with_their_cards_and_stop_together(stages: Stages, port: int):
    stage = stages(pair(gpus=(1,)))
    stage.start()
    seen = stage.until("Ready")
    assert f"a: http://127.0.0.1:{port}/v1" in seen
    assert f"b: http://127.0.0.1:{port + 1}/v1" in seen
    assert [(words[1], cards) for words, cards, _ in stage.rows()] == [  # type: ignore[index]
        ("Org/Model-8B-GGUF:Q4_K_M", "0"),
        ("Org/Model-8B-GGUF:Q8_0", "1"),
    ]
    assert stage.stop() == 130
    assert not is_open(port)
    assert not is_open(port + 1)


def test_engines_end_also_where_nobody_reads_what_the_script_says(stages: Stages, port: int):
    """As it is where a terminal was closed, or the program that it wrote to has ended."""
    stage = stages(pair(gpus=(1,)))
    for seen, number, code in (("Ready", signal.SIGHUP, 129), ("Starting a", None, 141)):
        process = stage.start()
        stage.until(seen)
        assert process.stdout
        process.stdout.close()
        if number:
            process.send_signal(number)
        assert process.wait(60) == code
        assert not is_open(port)
        assert not is_open(port + 1)


def test_what_waits_starts_when_it_is_named(stages: Stages, port: int):
    stage = stages(pair(awake=False))
    stage.start()
    stage.until("Ready")
    assert len(stage.rows()) == 1
    stage.stop()
    stage.start("b")
    stage.until("Ready")
    assert "Org/Model-8B-GGUF:Q8_0" in str(stage.rows()[-1])
    stage.stop()
    assert "no engine" in stage.fails("z")


def test_an_engine_that_dies_stops_everything_and_shows_its_log(stages: Stages, port: int):
    error = stages(pair("broken")).fails()
    assert "cudaMalloc failed" in error
    assert "logs/b.log" in error
    assert not is_open(port)


def test_a_card_with_too_little_memory_is_said_before_the_start(stages: Stages):
    stage = stages(pair())
    stage.add("nvidia-smi", "#!/bin/sh\necho 21503\n")
    error = stage.fails()
    assert "21503 MiB" in error
    assert "21504 MiB" in error
    assert stage.rows() == []


def test_a_full_disk_is_said_before_anything_is_fetched(stages: Stages):
    stage = stages(pair())
    stage.add("df", "#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\nx 1 1 10485759\\n'\n")
    stage.add("llama", '#!/bin/sh\ntouch "$HOME/fetched"\n')
    assert "Not enough disk" in stage.fails()
    assert not (stage.home / "fetched").exists()
    assert stage.rows() == []


def test_what_is_there_is_not_counted_and_what_is_not_is_fetched_by_the_programs_own_name(stages: Stages):
    stage = stages(pair())
    cache = stage.home / ".cache" / "huggingface" / "hub" / "models--Org--Model-8B-GGUF"
    cache.mkdir(parents=True)
    stage.add("du", "#!/bin/sh\nprintf '10485760\\tx\\n'\n")
    stage.add("df", "#!/bin/sh\nprintf 'Filesystem 1024-blocks Used Available\\nx 1 1 0\\n'\n")
    stage.add("llama", '#!/bin/sh\necho "$@" >>"$HOME/fetched"\n')
    stage.start()
    stage.until("Ready")
    assert (stage.home / "fetched").read_text().splitlines() == [
        "download --hf-repo Org/Model-8B-GGUF:Q4_K_M",
        "download --hf-repo Org/Model-8B-GGUF:Q8_0",
    ]
    stage.stop()


def test_a_file_that_is_not_made_yet_is_said(stages: Stages):
    made = make_llama(checkpoint=make_gguf("Org/Model", "Q6_K", hypothetical=True))
    error = stages(make_plan(made, engine="llama.cpp")).fails()
    assert "make-gguf.sh" in error
    assert "models/Org-Model-Q6_K.gguf" in error


def test_a_model_is_converted_in_steps_and_only_once(stages: Stages):
    made = make_llama(checkpoint=make_gguf("Org/Model", "Q6_K", hypothetical=True))
    stage = stages(make_plan(made, engine="llama.cpp"))
    source = stage.home / "llama.cpp"
    source.mkdir()
    (source / "convert_hf_to_gguf.py").touch()
    stage.add("hf", '#!/bin/sh\necho hf "$1" "$2" >>"$HOME/steps"\n')
    stage.add("python3", '#!/bin/sh\necho python3 "$4" >>"$HOME/steps"; touch "$6"\n')
    stage.add("llama-quantize", '#!/bin/sh\necho quantize "$3" >>"$HOME/steps"; mv "$1" "$2"\n')
    env = {"PATH": f"{stage.tools}:{os.environ['PATH']}", "HOME": str(stage.home), "LLAMA_CPP": str(source)}
    for _ in range(2):
        subprocess.run(["./make-gguf.sh"], cwd=stage.folder, env=env, check=True, timeout=20)
    assert (stage.home / "steps").read_text().splitlines() == ["hf download Org/Model", "python3 bf16", "quantize Q6_K"]
    assert [file.name for file in (stage.folder / "models").iterdir()] == ["Org-Model-Q6_K.gguf"]


def test_ollama_is_started_with_its_settings_and_makes_loads_and_checks_the_models(stages: Stages, port: int):
    stage = stages(pair(engine="ollama"), "ollama")
    stage.start()
    stage.until("Ready")
    rows = stage.rows()
    settings = rows[0][1]
    assert rows[0][0] == ["serve"]
    assert isinstance(settings, dict)
    assert settings["OLLAMA_NUM_PARALLEL"] == "4"
    assert settings["OLLAMA_MAX_LOADED_MODELS"] == "2"
    assert settings["CUDA_VISIBLE_DEVICES"] == "0"
    assert [row[0] for row in rows[1:]] == [
        ["pull", "hf.co/Org/Model-8B-GGUF:Q4_K_M"],
        ["create", "a", "-f", "Modelfile.a"],
        ["pull", "hf.co/Org/Model-8B-GGUF:Q8_0"],
        ["create", "b", "-f", "Modelfile.b"],
        ["run", "a", ""],
        ["run", "b", ""],
    ]
    assert stage.stop() == 130
    assert not is_open(port)


def test_two_ollamas_each_have_their_own_address_and_models(stages: Stages, port: int):
    stage = stages(pair(engine="ollama", max_num_seqs=1), "ollama")
    stage.start()
    stage.until("Ready")
    hosts = {str(row[0][1]): row[1]["OLLAMA_HOST"] for row in stage.rows() if row[0][0] == "create"}  # type: ignore[index]
    assert hosts == {"a": f"127.0.0.1:{port}", "b": f"127.0.0.1:{port + 1}"}
    stage.stop()


def test_a_model_that_ollama_puts_elsewhere_is_said(stages: Stages, port: int):
    stage = stages(pair(engine="ollama"), "ollama")
    stage.processor.write_text("23%/77% CPU/GPU")
    error = stage.fails()
    assert "a is not on the cards as planned" in error
    assert "23%/77% CPU/GPU" in error
    assert not is_open(port)


def test_an_ollama_that_runs_already_is_left_alone(stages: Stages, port: int):
    stage = stages(pair(engine="ollama"), "ollama")
    other = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 10
        while not is_open(port) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "already answers" in stage.fails()
    finally:
        other.terminate()
        other.wait()
    assert stage.rows() == []
