"""Exact mode against interpreters that behave and that do not: no vLLM here, but real child processes."""

import json
import os
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools.domain import Deployment, Footprint, Gpu, ModelSpec
from tools.errors import EngineRefuses, ExactUnavailable, RigfitError
from tools.settings import Settings
from tools.units import GIB
from tools.vram.architecture import spec_from_config
from tools.vram.exact import Exact, Question
from tools.vram.probing import Limits, ask

Interpreter = Callable[[str], Path]
CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 2,
    "num_attention_heads": 8,
    "vocab_size": 1024,
    "max_position_embeddings": 4096,
}
H100 = Gpu("NVIDIA H100 SXM", "NVIDIA", 80 * GIB, 79 * GIB, compute_capability="9.0")
QUICK = Limits(start_s=20, case_s=1.0, total_s=20)
READY = """
import json, os, sys, time
say = lambda **said: print(json.dumps(said), flush=True)
pool = {"max_model_len": 4096, "block_bytes": 65536, "request_bytes": 65536 * 256, "groups": [
    {"kind": "FullAttentionSpec", "block": 16, "layers": 2}]}
answer = lambda case, **more: say(id=case["id"], vllm="0.32.0", parameter_bytes=1000, pool=pool, **more)
"""
OBEDIENT = READY + 'say(ready=True, vllm="0.32.0")\nfor line in sys.stdin: answer(json.loads(line))\n'
ANSWER = {
    "id": 0,
    "vllm": "0.32.0",
    "parameter_bytes": 1000,
    "pool": {
        "max_model_len": 4096,
        "block_bytes": 65536,
        "request_bytes": 65536 * 256,
        "groups": [{"kind": "FullAttentionSpec", "block": 16, "layers": 2}],
    },
}


@pytest.fixture
def interpreter(tmp_path: Path) -> Interpreter:
    """Make an executable that, like vLLM's interpreter, is given the probe, and does what the test says instead."""

    def make(script: str) -> Path:
        (tmp_path / "bin").mkdir(exist_ok=True)
        (tmp_path / "script.py").write_text(script)
        path = tmp_path / "bin" / "python"
        path.write_text(f'#!/bin/sh\nexec python3 "{tmp_path}/script.py" "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    return make


def llama(**more: Any) -> ModelSpec:
    return spec_from_config({**CONFIG, **more}, name="small")


def question(**flags: Any) -> Question:
    spec = llama()
    return Question(Deployment(spec, spec.checkpoints[0], **flags), H100, CONFIG)


def code(said: object) -> str:
    assert isinstance(said, RigfitError)
    return said.code


def test_cases_are_answered_in_order_by_one_child(interpreter: Interpreter, tmp_path: Path):
    counted = OBEDIENT.replace("import json", f"import json; open('{tmp_path}/starts', 'a').write('x')\nimport json", 1)
    found = ask(interpreter(counted), [{"config": {}, "tp": tp} for tp in (1, 2, 4)], limits=QUICK)
    assert [answer["id"] for answer in found] == [0, 1, 2]
    assert (tmp_path / "starts").read_text() == "x"


def test_a_refusal_is_one_line_and_the_others_go_on(interpreter: Interpreter):
    words = "ValidationError: 1 validation error for ModelConfig Value error, No such\\n thing [type=value_error, x]"
    script = READY + (
        'say(ready=True, vllm="0.32.0")\n'
        "for line in sys.stdin:\n"
        "    case = json.loads(line)\n"
        f'    say(id=case["id"], error="{words}") if case["tp"] == 2 else answer(case)\n'
    )
    found = ask(interpreter(script), [{"tp": 1}, {"tp": 2}, {"tp": 4}], limits=QUICK)
    assert isinstance(found[1], EngineRefuses)
    assert found[1].params == {"reason": "No such thing"}
    assert [found[0]["id"], found[2]["id"]] == [0, 2]


@pytest.mark.parametrize(
    ("misbehaviour", "expected"),
    [
        ("time.sleep(600)", "errors_exact.too_slow"),
        ("os._exit(139)", "errors_exact.died"),
        ("os.kill(os.getpid(), 9)", "errors_exact.died"),
        ("print('Loading weights ...', flush=True)", "errors_exact.nonsense"),
        ("print('[' * 100000, flush=True)", "errors_exact.nonsense"),
        ("print('{}', flush=True)", "errors_exact.nonsense"),
        ("say(id=77, parameter_bytes=1)", "errors_exact.died"),
        ("sys.stdout.write('x' * (64 << 20)); sys.stdout.flush(); time.sleep(600)", "errors_exact.nonsense"),
    ],
)
def test_a_broken_model_takes_only_itself_down(interpreter: Interpreter, misbehaviour: str, expected: str):
    script = READY + (
        'say(ready=True, vllm="0.32.0")\n'
        "for line in sys.stdin:\n"
        "    case = json.loads(line)\n"
        f'    if case["tp"] == 2: {misbehaviour}\n'
        "    else: answer(case)\n"
    )
    found = ask(interpreter(script), [{"tp": 1}, {"tp": 2}, {"tp": 4}], limits=QUICK)
    assert found[0]["parameter_bytes"] == found[2]["parameter_bytes"] == 1000
    assert code(found[1]) == expected


def test_children_of_a_hanging_child_are_killed_too(interpreter: Interpreter, tmp_path: Path):
    script = READY + (
        "import subprocess\n"
        f"child = subprocess.Popen(['sleep', '300']); open('{tmp_path}/pid', 'w').write(str(child.pid))\n"
        'say(ready=True, vllm="0.32.0")\ntime.sleep(300)\n'
    )
    assert code(ask(interpreter(script), [{"tp": 1}], limits=QUICK)[0]) == "errors_exact.too_slow"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(50):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout
        if not state or state.startswith("Z"):
            return
        time.sleep(0.1)
    pytest.fail("the grandchild lives on")


@pytest.mark.parametrize(
    "script",
    [
        "raise ImportError('No module named vllm')",
        "import time; time.sleep(600)",
        READY + 'say(ready=True, vllm="0.9.1")',
        "print('hello')",
    ],
)
def test_an_interpreter_without_vllm_is_said_once(interpreter: Interpreter, script: str):
    limits = Limits(start_s=1.5, case_s=1, total_s=10)
    with pytest.raises(ExactUnavailable, match="not_ready"):
        ask(interpreter(script), [{"tp": 1}, {"tp": 2}], limits=limits)


def test_no_interpreter_is_said_with_what_to_do(tmp_path: Path):
    with pytest.raises(ExactUnavailable, match="not_installed"):
        Exact.open(Settings(tmp_path))
    with pytest.raises(ExactUnavailable):
        ask(tmp_path / "nothing", [{"tp": 1}], limits=QUICK)


def test_the_child_gets_no_keys(interpreter: Interpreter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    monkeypatch.setenv("RIGFIT_LLM_API_KEY", "secret")
    script = READY + (
        'say(ready=True, vllm="0.32.0")\n'
        'for line in sys.stdin: answer(json.loads(line), has="secret" in "".join(os.environ.values()))\n'
    )
    assert ask(interpreter(script), [{"tp": 1}], limits=QUICK)[0]["has"] is False


def test_memory_is_limited(interpreter: Interpreter):
    script = READY + (
        'say(ready=True, vllm="0.32.0")\n'
        "for line in sys.stdin:\n"
        "    hoard = bytearray(3 << 30)\n"
        "    answer(json.loads(line))\n"
    )
    found = ask(interpreter(script), [{"tp": 1}], limits=Limits(20, 10, 20, memory_bytes=1 << 30))
    assert code(found[0]) == "errors_exact.died"
    assert "MemoryError" in str(found[0].params["reason"])


def test_answers_are_kept_and_asked_for_once(interpreter: Interpreter, tmp_path: Path):
    python = interpreter(OBEDIENT)
    exact = Exact(python, tmp_path / "data" / "exact.sqlite", QUICK)
    first = exact.answers([question(), question(tp=2)])
    interpreter("raise SystemExit(1)")
    assert exact.answers([question(tp=2), question()]) == [first[1], first[0]]
    assert code(exact.answers([question(tp=4)])[0]) == "errors_exact.not_ready"


def test_a_refusal_is_kept_and_a_crash_is_not(interpreter: Interpreter, tmp_path: Path):
    refuse = (
        READY + 'say(ready=True, vllm="0.32.0")\nfor line in sys.stdin: say(id=json.loads(line)["id"], error="E: no")\n'
    )
    crash = READY + 'say(ready=True, vllm="0.32.0")\nsys.stdin.readline()\n'
    exact = Exact(interpreter(crash), tmp_path / "exact.sqlite", QUICK)
    assert code(exact.answers([question()])[0]) == "errors_exact.died"
    interpreter(refuse)
    assert code(exact.answers([question()])[0]) == "errors_exact.refused"
    interpreter(OBEDIENT)
    assert code(exact.answers([question()])[0]) == "errors_exact.refused"


@pytest.mark.parametrize("contents", [b"no database at all", b""])
def test_a_damaged_store_does_not_matter(interpreter: Interpreter, tmp_path: Path, contents: bytes):
    store = tmp_path / "exact.sqlite"
    store.write_bytes(contents)
    assert Exact(interpreter(OBEDIENT), store, QUICK).answers([question()]) == [ANSWER]


def test_a_newer_store_is_left_alone(interpreter: Interpreter, tmp_path: Path):
    store = tmp_path / "exact.sqlite"
    with sqlite3.connect(store) as connection:
        connection.execute("PRAGMA user_version = 99")
    assert Exact(interpreter(OBEDIENT), store, QUICK).answers([question()]) == [ANSWER]


def test_a_footprint_takes_parameters_and_blocks_from_the_engine(interpreter: Interpreter, tmp_path: Path):
    exact = Exact(interpreter(OBEDIENT), tmp_path / "exact.sqlite", QUICK)
    (found,) = exact.footprints([question(kv_cache_memory_bytes=65536 * 1000)])
    assert isinstance(found, Footprint)
    assert found.parameter_bytes == 1000
    assert found.kv_bytes_per_token == 4096
    assert found.max_concurrency == pytest.approx(1000 / 256)
    assert found.kv_pool_tokens == int(1000 / 256 * 4096)
    assert {name for name, status in found.provenance.items() if status == "exact"} == {
        "parameter_bytes",
        "kv_bytes_per_token",
        "kv_needed_bytes",
        "kv_pool_bytes",
        "kv_pool_tokens",
        "max_concurrency",
    }
    unlike = {one.params["what"]: one.params["exact"] for one in found.assumptions if one.code == "exact.differs"}
    assert unlike["parameter_bytes"] == 1000


def test_fewer_parameters_leave_more_for_the_pool(interpreter: Interpreter, tmp_path: Path):
    from tools.vram.estimate import estimate

    exact = Exact(interpreter(OBEDIENT), tmp_path / "exact.sqlite", QUICK)
    asked = question()
    (found,) = exact.footprints([asked])
    computed = estimate(asked.deployment, H100)
    assert isinstance(found, Footprint)
    assert found.kv_pool_bytes is not None
    assert computed.kv_pool_bytes is not None
    saved = computed.parameter_bytes - 1000
    assert found.kv_pool_bytes.value - computed.kv_pool_bytes.value == saved
    assert found.provenance["max_concurrency"] == "estimated", "the pool's size is"


def test_an_architecture_without_a_formula_is_answered(interpreter: Interpreter, tmp_path: Path):
    config = {**CONFIG, "model_type": "no such"}
    spec = spec_from_config(config, name="new")
    asked = Question(Deployment(spec, spec.checkpoints[0]), H100, config)
    (found,) = Exact(interpreter(OBEDIENT), tmp_path / "exact.sqlite", QUICK).footprints([asked])
    assert isinstance(found, Footprint)
    assert (found.parameter_bytes, found.verdict) == (1000, "fits")
    assert found.total_bytes > 0
    assert "exact.no_formula" in {one.code for one in found.assumptions}


def run(python: Path, tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    env = {**os.environ, "RIGFIT_VLLM_PYTHON": str(python), "RIGFIT_DATA_DIR": str(tmp_path), "RIGFIT_LANG": "en"}
    command = [str(Path(sys.executable).with_name("rigfit")), "estimate", "--exact", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


def test_the_command_line_asks_and_marks_what_is_exact(interpreter: Interpreter, tmp_path: Path):
    python = interpreter(OBEDIENT)
    done = run(python, tmp_path, "--config", str(tmp_path), "--gpu", "H100", "--json")
    answer = json.loads(done.stdout)
    assert answer["parameter_bytes_per_gpu"] == 1000
    assert answer["provenance"]["parameter_bytes_per_gpu"] == "exact"
    rows = "".join(json.dumps({"id": i, "config": str(tmp_path), "tp": 1}) + "\n" for i in range(3)) + "no row\n"
    (tmp_path / "rows").write_text(rows)
    batch = [json.loads(line) for line in run(python, tmp_path, "--batch", str(tmp_path / "rows")).stdout.splitlines()]
    assert [row["id"] for row in batch] == [0, 1, 2, None]
    assert [row["ok"] for row in batch] == [True, True, True, False]


def test_without_vllm_the_command_says_what_to_do(tmp_path: Path):
    done = run(tmp_path / "nothing", tmp_path, "--config", str(tmp_path))
    assert done.returncode == 3
    assert "make vllm" in done.stderr
    assert done.stdout == ""
