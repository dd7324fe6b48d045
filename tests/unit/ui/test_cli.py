"""The command line, as its users call it: a process, or ``run`` where only words matter."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tools.errors import BadValue, NotYetExact, RigfitError
from ui.cli import COMMANDS, run

ROOT = Path(__file__).parents[3]


def rigfit(*words: str, stdin: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "ui.cli", *words],
        cwd=ROOT,
        env={**os.environ, "RIGFIT_NETWORK": "off", "LANG": "C.UTF-8", "LC_ALL": "", "LC_MESSAGES": "", **env},
        input=stdin,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


def answer(*words: str, capsys: pytest.CaptureFixture[str]) -> Any:
    assert run([*words, "--json"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\n")
    return json.loads(out)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        run([command, "--help"])
    assert stopped.value.code == 0
    text = capsys.readouterr().out
    example = text[text.index("example:") :]
    assert f"rigfit {command}" in example
    assert "--json" in text


def test_plan_answers_as_the_contract_says(capsys: pytest.CaptureFixture[str]) -> None:
    plan = answer("plan", "2xQwen/Qwen3-30B-A3B@bf16", "--gpu", "RTX PRO 6000", capsys=capsys)
    assert plan["verdict"] == "fits_with_changes"
    assert plan["as_asked"]["verdict"] == "does_not_fit"
    assert plan["as_asked"]["deficit_bytes"] > 0
    assert plan["recommended"] in {option["id"] for option in plan["options"]}
    assert {"rig", "asked", "assumptions"} <= plan.keys()


def test_models_and_options_may_come_in_any_order(capsys: pytest.CaptureFixture[str]) -> None:
    first = answer("plan", "Qwen/Qwen3-8B", "--gpu", "RTX 3090", "Qwen/Qwen3-14B", capsys=capsys)
    second = answer("plan", "--gpu", "RTX 3090", "Qwen/Qwen3-8B", "Qwen/Qwen3-14B", capsys=capsys)
    assert first == second


def test_check_judges_by_exit_code() -> None:
    assert run(["plan", "Qwen/Qwen3-8B", "--gpu", "RTX PRO 6000", "--check"]) == 0
    assert run(["plan", "Qwen/Qwen3-235B-A22B@bf16", "--vram", "2GiB", "--check"]) == 1
    assert run(["plan", "Qwen/Qwen3-235B-A22B@bf16", "--vram", "2GiB"]) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["plan", "no/such-model-anywhere", "--gpu", "RTX 3090"],
        ["plan", "Qwen/Qwen3-8B", "--gpu", "-5xRTX 3090"],
        ["plan", "Qwen/Qwen3-8B", "--gpu", "RTX 3090", "--context", "1000000000000"],
        ["plan", "Qwen/Qwen3-8B", "--gpu", "RTX 3090", "--users", "many"],
        ["plan", "$(reboot)\n\x1b[31m", "--gpu", "RTX 3090"],
        ["plan", "Qwen/Qwen3-8B", "--gpu", "RTX 3090", "--lang", "xx"],
        ["plan"],
        ["nothing"],
        ["launch", "--plan", "/no/such/file"],
        ["launch", "Qwen/Qwen3-8B", "--plan", "-"],
        ["launch", "--plan", "-", "--gpu", "RTX 3090"],
        ["read"],
    ],
)
@pytest.mark.parametrize("language", ["en", "ru"])
def test_what_cannot_be_read_is_one_clear_line(words: list[str], language: str) -> None:
    done = rigfit(*words, RIGFIT_LANG=language)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
    if words != ["nothing"]:
        assert bool(re.search("[а-я]", done.stderr)) == (language == "ru")


def test_a_service_that_is_off_gives_three() -> None:
    done = rigfit("search", "qwen")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1


def test_a_batch_marks_bad_rows_and_goes_on() -> None:
    rows = [
        json.dumps({"id": "a", "model": "Qwen/Qwen3-8B", "gpu": "RTX 3090"}),
        "not json",
        json.dumps({"id": "b", "model": "Qwen/Qwen3-8B", "tp": -1}),
        json.dumps({"id": "c", "nonsense": 1}),
        json.dumps(["list"]),
    ]
    done = rigfit("estimate", "--batch", "-", stdin="\n".join(rows))
    assert done.returncode == 0
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["ok"] for row in answers] == [True, False, False, False, False]
    assert [row["id"] for row in answers] == ["a", None, "b", "c", None]
    assert all(row["error"] for row in answers[1:])


def test_a_row_keeps_its_id_and_what_is_known_of_it() -> None:
    rows = [
        {"id": 7, "model": "Qwen/Qwen3-8B"},
        {"id": ["x"], "model": "microsoft/bitnet-b1.58-2B-4T-bf16"},
        {"id": "c", "model": "Qwen/Qwen3-8B", "gpu": "no such card"},
    ]
    done = rigfit("estimate", "--batch", "-", stdin="\n".join(map(json.dumps, rows)))
    plain, published, without = map(json.loads, done.stdout.splitlines())
    assert [plain["id"], published["id"], without["id"]] == [7, ["x"], "c"]
    assert not published["ok"]
    assert published["weights_bytes_per_gpu"] > 4e9
    assert published["provenance"] == {"weights_bytes_per_gpu": "computed"}
    assert not without["ok"]
    assert without["weights_bytes_per_gpu"] == plain["weights_bytes_per_gpu"]
    assert published.keys() >= plain.keys() - {"checkpoint", "precision", "backend", "kv_needed_bytes"}


def test_an_architecture_not_yet_exact_still_shows_its_published_bytes() -> None:
    done = rigfit("estimate", "microsoft/bitnet-b1.58-2B-4T-bf16", "--json")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    shown = json.loads(done.stdout)
    assert shown["ok"] is False
    assert shown["weights_bytes_per_gpu"] > 4e9


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--gpu", "-5xRTX 3090"], "-5"),
        (["--vram", "-5GB"], "-5GB"),
        (["--gpu", "RTX 3090", "--reserved", "-2GiB"], "-2GiB"),
    ],
)
def test_a_negative_amount_is_refused_by_what_reads_it(words: list[str], said: str) -> None:
    with pytest.raises(RigfitError) as refused:
        run(["plan", "Qwen/Qwen3-8B", *words])
    assert said in " ".join(str(value) for value in refused.value.params.values())
    assert refused.value.code != "errors_ui.usage"


def test_the_language_of_a_problem_may_be_joined_to_its_option() -> None:
    assert re.search("[а-я]", rigfit("plan", "--lang=ru").stderr)


def test_read_takes_turns_and_batches() -> None:
    rows = [{"id": 1, "turns": ["two Qwen3-30B?", "on an RTX 3090"]}, {"id": 2, "text": "квен 8б на 3090?"}, {"id": 3}]
    done = rigfit("read", "--batch", "-", stdin="\n".join(map(json.dumps, rows)))
    one, two, three = map(json.loads, done.stdout.splitlines())
    assert one["id"] == 1
    assert one["models"][0]["copies"] == 2
    assert "3090" in one["gpus"][0]["name"]
    assert two["language"] == "ru"
    assert three["ok"] is False


def test_launch_takes_a_plan_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", "2xQwen/Qwen3-30B-A3B", "--gpu", "RTX PRO 6000", "--json"]) == 0
    saved = tmp_path / "plan.json"
    saved.write_text(capsys.readouterr().out, encoding="utf-8")
    made = answer("launch", "--plan", str(saved), "--out", str(tmp_path / "out"), capsys=capsys)
    assert made["target"] == "compose"
    assert all(Path(path).is_file() for path in made["files"])
    assert all(check["ok"] is not False for check in made["checks"])


def test_a_target_is_planned_for_its_own_engine(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = ("launch", "Qwen/Qwen3-8B@awq", "--gpu", "RTX 3090", "--target", "ollama", "--out", str(tmp_path))
    made = answer(*words, capsys=capsys)
    assert "gguf-Q4_K_M" in " ".join(made["notes"])
    assert "FROM hf.co/" in (tmp_path / "Modelfile.qwen3-8b").read_text(encoding="utf-8")


def test_specs_carry_their_source(capsys: pytest.CaptureFixture[str]) -> None:
    card = answer("specs", "gpu", "rtx", "pro", "6000", capsys=capsys)
    assert card["memory_bytes"] == 97_887 << 20
    assert card["source"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", card["date"])
    model = answer("specs", "model", "qwen 30", capsys=capsys)
    assert model["source"]
    assert model["date"]


def test_ask_goes_through_the_graph(tmp_path: Path) -> None:
    words = ("ask", "Will two Qwen3-30B run at once?", "--turn", "98 GB", "--rig", "none", "--json")
    done = rigfit(*words, RIGFIT_DATA_DIR=str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert "113.7" in result["answer_markdown"]
    assert result["grounded"] is True
    assert result["llm"] == "embedded"
    assert result["plan"]["verdict"] == "fits_with_changes"


def test_the_page_says_when_its_port_is_taken() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = rigfit("ui", "--port", str(taken.getsockname()[1]))
    assert done.returncode == 2
    assert "already in use" in done.stderr


def test_no_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    listed = capsys.readouterr().out
    assert all(command in listed for command in COMMANDS)
    with pytest.raises(BadValue):
        run(["--nonsense"])


def test_a_model_that_is_not_exact_yet_is_told_by_its_published_size() -> None:
    with pytest.raises(NotYetExact) as told:
        run(["plan", "microsoft/bitnet-b1.58-2B-4T-bf16", "--gpu", "8xH200", "--json"])
    assert told.value.params["models"] == "microsoft/bitnet-b1.58-2B-4T-bf16 4.5 GiB"
