"""Every command of the vLLM files of the grid, read by vLLM itself: its parser, its server's checks, its configuration.

Where vLLM is installed (``make vllm``), one process of its interpreter answers for all of them; the flag table of the
supported version is the light check that stands everywhere.
"""

from __future__ import annotations

import json
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grid import Made, accepted

from tools.domain import Deployment
from tools.launch.argv.vllm_context import overrides_for
from tools.launch.checks.shell import check_shell
from tools.launch.checks.systemd import check_units
from tools.launch.checks.vllm import check_flags
from tools.launch.job import Unit, prepare
from tools.launch.targets.vllm_systemd import HOME
from tools.specs.models import ModelCatalogue
from tools.units import GIB

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".vllm" / "bin" / "python"
CASES = accepted("vllm")
WIDTH = 100


def commands(made: Made) -> dict[str, list[str]]:
    """By file, the words that bash would run last, without what a user adds."""
    assert made.files
    found: dict[str, list[str]] = {}
    for file in made.files.files:
        if Path(file.path).name.startswith("serve-"):
            text = file.content[file.content.index("\nexec ") + 6 :].replace(" \\\n", " ")
            found[file.path] = [word for word in shlex.split(text) if word != "$@"]
    return found


class Engine:
    """vLLM's interpreter, asked line by line."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [str(PYTHON), str(Path(__file__).with_name("vllm_reads.py"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.known: dict[str, dict[str, Any]] = {}

    def reads(self, case: dict[str, Any]) -> dict[str, Any]:
        line = json.dumps(case)
        if line not in self.known:
            assert self.process.stdin
            assert self.process.stdout
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            self.known[line] = json.loads(self.process.stdout.readline())
        return self.known[line]


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not PYTHON.exists():
        pytest.skip("needs vLLM: make vllm")
    asked = Engine()
    yield asked
    asked.process.kill()
    asked.process.wait()


@pytest.fixture(scope="module")
def models() -> ModelCatalogue:
    return ModelCatalogue()


def units_of(made: Made) -> dict[str, Unit]:
    """The engines by the words that only their own commands have: their served names."""
    assert made.files
    jobs = prepare(made.plan, made.files.option, "en")
    return {name: unit for job in jobs for unit in job.units for name in unit.instance.served_names}


WRITTEN = {
    "gptq": {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
    "awq": {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "version": "gemm"},
    "fp8_block": {"quant_method": "fp8", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
    "fp8_tensor": {"quant_method": "fp8", "activation_scheme": "dynamic"},
    "nvfp4": {"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16, "ignore": ["lm_head"]},
}
"""``quantization_config`` as the usual tools write it, by Rigfit's word for the format."""


def config_of(unit: Unit, models: ModelCatalogue) -> dict[str, Any] | None:
    """The checkpoint's own ``config.json``, else its model's with the format as it is usually written."""
    own = models.own_config(unit.checkpoint.repo)
    if own:
        return own[0]
    written, native = (
        WRITTEN.get(unit.checkpoint.quantization.method),
        models.own_config(unit.instance.deployment.model.name),
    )
    return {**native[0], "quantization_config": written} if written and native else None


def case_of(words: list[str], unit: Unit, models: ModelCatalogue) -> dict[str, Any]:
    """What is asked about a command."""
    config = config_of(unit, models)
    gpu = unit.gpus[0] if unit.gpus else None
    seen = (gpu.compute_capability if gpu else None) or "9.0"
    return {
        "words": words,
        "config": config,
        "capability": seen if seen.replace(".", "").isdigit() else "9.0",
        "memory_bytes": gpu.cuda_total_bytes if gpu else 80 * GIB,
    }


def served(words: list[str]) -> str:
    return words[words.index("--served-model-name") + 1]


def test_the_grid_is_wide_enough():
    assert len(CASES) >= WIDTH


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_the_recorded_parser_and_the_validators_of_the_scripts_accept_it(made: Made):
    assert made.files
    check = check_flags(commands(made).values())
    assert check.ok, check.detail
    said = (*check_shell(made.files.files), *check_units(folder_of(made), HOME))
    assert [check.detail for check in said if check.ok is False] == []


def folder_of(made: Made) -> list[Any]:
    """The files of the first machine, which are alike in kind on every one."""
    assert made.files
    files = made.files.files
    spread = any(file.path.startswith("machine-1/") for file in files)
    return [file for file in files if not spread or file.path.startswith("machine-1/")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_vllm_itself_takes_every_command(made: Made, engine: Engine, models: ModelCatalogue):
    units = units_of(made)
    for path, words in commands(made).items():
        unit = units[served(words)] if words[1] == "serve" else next(iter(units.values()))
        case = case_of(words, unit, models)
        said = engine.reads(case)
        if unit.needs_bnb and said.get("step") == "engine" and "bitsandbytes" in said["error"]:
            said = engine.reads(case | {"config": None})  # a package adds that format, and it isn't here
        assert said["ok"], (path, said, shlex.join(words))
        if said["resolved"]:
            agrees(said["resolved"], words, unit.instance.deployment)


def test_the_engine_was_asked_about_most_commands(engine: Engine):
    """The last step needs a configuration, which some repositories keep to themselves."""
    resolved = [said["resolved"] for said in engine.known.values() if said["ok"]]
    assert len([found for found in resolved if found]) >= 0.9 * len(resolved)
    assert {None, "fp8", "auto_gptq", "auto_awq"} <= {found["quantization"] for found in resolved if found}


def agrees(resolved: dict[str, Any], words: list[str], deployment: Deployment) -> None:
    """What vLLM understood is what the plan says."""
    on_cpu = "--gpu-memory-utilization" not in words and "--kv-cache-memory-bytes" in words
    if deployment.max_model_len:
        assert resolved["max_model_len"] == deployment.max_model_len
    if "ipc_cache" not in words and words[1] == "serve":
        assert deployment.max_num_seqs in {None, resolved["seqs"]}
    if not on_cpu:
        assert resolved["tp"] == deployment.tp
        assert (resolved["cache_dtype"] == "auto") == (deployment.kv_dtype == "auto") or words[1] == "preload"


@pytest.mark.parametrize(
    ("words", "step"),
    [
        (["--kv-cache-dtype", "fp9"], "parser"),
        (["--no-such-flag"], "parser"),
        (["--tool-call-parser", "nosuch", "--enable-auto-tool-choice"], "server"),
        (["--reasoning-parser", "nosuch"], "server"),
        (["--max-model-len", "65536"], "engine"),
        (["--tensor-parallel-size", "3"], "engine"),
        (["--dtype", "bfloat16"], "engine"),
    ],
)
def test_vllm_does_refuse_what_is_wrong(words: list[str], step: str, engine: Engine, models: ModelCatalogue):
    """On a card before Ampere, which has no bfloat16."""
    found = models.own_config("Qwen/Qwen3-8B")
    assert found
    case = {"words": ["vllm", "serve", "X", *words], "config": found[0], "capability": "7.5", "memory_bytes": 11 * GIB}
    assert engine.reads(case)["step"] == step


def families() -> list[dict[str, Any]]:
    file = ROOT / "tools" / "launch" / "data" / "parsers.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))["family"]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("family", families(), ids=lambda family: family["names"][0])
def test_vllm_has_the_parsers_of_every_family(family: dict[str, Any], engine: Engine):
    words = ["vllm", "serve", "X"]
    words += ["--reasoning-parser", family["reasoning"]] if "reasoning" in family else []
    words += ["--enable-auto-tool-choice", "--tool-call-parser", family["tools"]] if "tools" in family else []
    said = engine.reads({"words": words, "config": None})
    assert said["ok"], said


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["Qwen/Qwen3-8B", "Qwen/Qwen3-30B-A3B", "Qwen/Qwen2.5-7B-Instruct"])
def test_vllm_takes_a_context_that_yarn_reaches(name: str, engine: Engine, models: ModelCatalogue):
    spec = models.find(name).spec
    checkpoint = next(one for one in spec.checkpoints if one.repo == name)
    overrides = overrides_for(Deployment(spec, checkpoint, max_model_len=100_000))
    assert overrides
    found = models.own_config(name)
    assert found
    words = ["vllm", "serve", "X", "--max-model-len", "100000"]
    case = {"config": found[0], "capability": "9.0", "memory_bytes": 80 * GIB}
    assert engine.reads(case | {"words": words})["step"] == "engine"
    said = engine.reads(case | {"words": [*words, "--hf-overrides", overrides]})
    assert said["ok"], said
    assert said["resolved"]["max_model_len"] == 100_000


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--speculative-config", '{"method": "mtp", "num_speculative_tokens": 1}'], "deepseek-ai/DeepSeek-V3"),
        (["--cpu-offload-gb", "4.25", "--cpu-offload-params", "experts"], "Qwen/Qwen3-30B-A3B"),
        (["--offload-group-size", "8", "--offload-num-in-group", "2", "--offload-prefetch-step", "1"], "Qwen/Qwen3-8B"),
        (["--load-format", "ipc_cache", "--model-loader-extra-config", '{"fallback": false}'], "Qwen/Qwen3-8B"),
        (["--data-parallel-size", "2", "--enable-expert-parallel"], "Qwen/Qwen3-30B-A3B"),
        (["--pipeline-parallel-size", "2"], "Qwen/Qwen3-8B"),
        (["--disable-hybrid-kv-cache-manager", "--no-enable-prefix-caching", "--block-size", "32"], "Qwen/Qwen3-8B"),
        (["--quantization", "fp8_per_tensor"], "Qwen/Qwen3-8B"),
    ],
)
def test_vllm_takes_what_plans_of_other_kinds_set(words: list[str], name: str, engine: Engine, models: ModelCatalogue):
    found = models.own_config(name)
    assert found
    case = {"words": ["vllm", "serve", "X", *words], "config": found[0], "capability": "9.0", "memory_bytes": 80 * GIB}
    said = engine.reads(case)
    assert said["ok"], said
