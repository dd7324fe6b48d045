"""What rigfit serve refuses before anything is started, and what it says then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.runs import RunRecord, Runs
from serving.wish import Wish
from tools.domain import Gpu, Rig
from tools.errors import BadValue, NoSuchOption, NothingFits, RigfitError, ServiceError
from tools.launch.job import Job
from tools.plan.planner import make_plan
from tools.plan.report import plan_json
from tools.plan.resolve import resolve_arguments
from tools.specs.gpus import GpuCatalogue
from ui.cli import run
from ui.commands.serve_plan import job_of, missing_cards
from ui.output import sentence

CARD = ("--gpu", "RTX PRO 6000")


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "locks").mkdir()
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RIGFIT_LOCK_DIR", str(tmp_path / "locks"))
    monkeypatch.setenv("RIGFIT_VLLM_PYTHON", str(tmp_path / "none" / "python"))
    monkeypatch.setenv("RIGFIT_LANG", "en")


def refusal(*words: str) -> tuple[RigfitError, str]:
    with pytest.raises(RigfitError) as raised:
        run(["serve", *words])
    assert sentence("ru", raised.value)
    return raised.value, sentence("en", raised.value)


def test_a_plan_for_another_engine_is_offered_its_files() -> None:
    error, said = refusal("Qwen/Qwen3-8B@awq", *CARD, "--engine", "sglang", "--context", "4096")
    assert error.exit_code == 2
    assert "rigfit launch 'Qwen/Qwen3-8B@awq'" in said or "rigfit launch Qwen/Qwen3-8B@awq" in said
    assert "--gpu 'RTX PRO 6000' --context 4096 --engine sglang --target sglang" in said


def test_a_plan_for_several_machines_is_offered_what_spans_them(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("Qwen/Qwen3-235B-A22B@bf16", "--gpu", "4xH100", "--nodes", "2")
    error, said = refusal(*words)
    assert error.exit_code == 2
    assert "rigfit launch Qwen/Qwen3-235B-A22B@bf16 --gpu 4xH100 --nodes 2" in said
    assert all(f"--target {target}" in said for target in ("ray", "kubernetes", "slurm"))
    assert capsys.readouterr().out == ""


def test_what_does_not_fit_is_refused_with_what_is_missing() -> None:
    error, said = refusal("2xQwen/Qwen3-30B-A3B@bf16", *CARD, "--option", "as_asked")
    assert isinstance(error, NothingFits)
    assert error.exit_code == 2
    assert "GiB" in said
    error, _ = refusal("Qwen/Qwen3-8B", *CARD, "--option", "none")
    assert isinstance(error, NoSuchOption)


def test_without_a_card_the_processor_is_named() -> None:
    for words in (("Qwen/Qwen3-8B",), ("Qwen/Qwen3-8B", *CARD)):
        error, said = refusal(*words)
        assert error.exit_code == 2
        assert "--cpu" in said


def test_without_vllm_it_is_said_how_to_get_it() -> None:
    error, said = refusal("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB")
    assert isinstance(error, ServiceError)
    assert error.exit_code == 3
    assert "make vllm" in said


@pytest.mark.parametrize(
    "words",
    [
        ("Qwen/Qwen3-0.6B", "--resume"),
        ("--resume", "--plan", "x.json"),
        ("--resume", "--gpu", "RTX 3090"),
        ("--plan", "x.json", "Qwen/Qwen3-0.6B"),
        ("--plan", "/does/not/exist"),
        ("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB", "--alias", "a=b", "--dry-run"),
        ("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB", "--upstream", "x=http://8.8.8.8", "--dry-run"),
        ("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB", "--upstream-key", "NO_SUCH", "--dry-run", "--upstream", "x=http://127.0.0.1:9"),
        ("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB", "--pin", "qwen3-0.6b", "--dry-run"),
        ("Qwen/Qwen3-0.6B", "--cpu", "--vram", "20GiB", "--api-key-file", "/does/not/exist", "--dry-run"),
        (),
    ],
)  # fmt: skip
def test_words_that_mean_nothing_are_refused(words: tuple[str, ...]) -> None:
    error, _ = refusal(*words)
    assert isinstance(error, BadValue)


def test_a_dry_run_lists_what_would_be_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["serve", "Qwen/Qwen3-8B", *CARD, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["refusals"]) == 2
    assert any("make vllm" in reason for reason in said["refusals"])
    (engine,) = said["engines"]
    assert engine["cards"] == ["nvidia:0"]
    assert engine["command"][1:3] == ["serve", "Qwen/Qwen3-8B"]
    assert engine["predicted"]["weights_bytes"] > 15 << 30


def test_a_dry_run_says_who_takes_turns(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["Qwen/Qwen3-30B-A3B@bf16", "Qwen/Qwen3-32B@bf16", *CARD, "--residency", "swap"]
    assert run(["serve", *words, "--dry-run", "--lang", "ru"]) == 0
    out = capsys.readouterr().out
    assert "Работают по очереди: " in out
    assert "--enable-sleep-mode" in out
    assert "VLLM_SERVER_DEV_MODE=1" in out


def test_a_run_with_keys_is_not_resumed_without_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIGFIT_API_KEYS", "k1")
    plan = make_plan(resolve_arguments(["Qwen/Qwen3-0.6B"], vram="20GiB"))
    wish = Wish(port=8123, cpu=True, keys_from_variable=True)
    runs = Runs(tmp_path / "data")
    runs.write(RunRecord(8123, "http://127.0.0.1:8123", 1, "gone", 1.0, "as_asked", plan_json(plan), wish))
    assert run(["serve", "--resume", "--dry-run", "--json"]) == 0
    monkeypatch.delenv("RIGFIT_API_KEYS")
    error, said = refusal("--resume", "--dry-run")
    assert error.exit_code == 2
    assert "RIGFIT_API_KEYS" in said


def planned(*words: str, **said: Any) -> Job:
    plan = make_plan(resolve_arguments(words, **said))
    return job_of(plan, None, cpu=False, language="en", again="rigfit launch")


BLACKWELL = GpuCatalogue.load().find("RTX PRO 6000").gpu
OLDER = GpuCatalogue.load().find("RTX 3090").gpu


@pytest.mark.parametrize(
    ("here", "missing"),
    [
        ((BLACKWELL, BLACKWELL), ""),
        ((BLACKWELL, BLACKWELL, OLDER), ""),
        ((BLACKWELL,), "2 cards of NVIDIA"),
        ((BLACKWELL, OLDER), "nvidia:1"),
    ],
)
def test_the_plans_cards_must_be_here(here: tuple[Gpu, ...], missing: str) -> None:
    job = planned("Qwen/Qwen3-32B@bf16", "Qwen/Qwen3-30B-A3B@bf16", gpu=["2xRTX PRO 6000"])
    said = list(missing_cards(job, "en", Rig(here)))
    assert len(said) == bool(missing)
    assert missing in "".join(said)


@pytest.mark.parametrize(("more", "state"), [((), "unknown"), (("--no-memory-check",), "unasked")])
def test_memory_of_cards_that_nobody_can_read_is_not_called_free(
    more: tuple[str, ...], state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("serve", "Qwen/Qwen3-0.6B", "--gpu", "MI300X", "--dry-run", *more)
    assert run([*words, "--json"]) == 0
    (engine,) = json.loads(capsys.readouterr().out)["engines"]
    assert (engine["memory"], engine["shortage"]) == (state, None)
    assert run(words) == 0
    assert "memory is free now" not in capsys.readouterr().out
