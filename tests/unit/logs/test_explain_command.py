"""``rigfit explain``: its object, its exit codes, its words in two languages, what it remembers."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from log_texts import FOLDER, GIB, NAMES

from ui.cli import main


def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["rigfit", "explain", *words])
    with pytest.raises(SystemExit) as stop:
        main()
    out = capsys.readouterr()
    return int(stop.value.code or 0), out.out, out.err


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RIGFIT_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("RIGFIT_NETWORK", "off")
    monkeypatch.setenv("RIGFIT_LANG", "en")


@pytest.mark.parametrize("name", NAMES)
def test_json_has_the_promised_fields(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = run(monkeypatch, capsys, str(FOLDER / f"{name}.log"), "--json")
    assert code == 0
    told: dict[str, Any] = json.loads(out)
    assert told.keys() >= {"engine", "version", "facts", "failure", "cause", "prediction", "differences", "fixes"}
    assert (told["failure"] is None) == (told["cause"] is None)
    for fix in told["fixes"]:
        assert fix.keys() >= {"change", "effect_bytes", "command"}
        assert fix["effect_bytes"] is None or isinstance(fix["effect_bytes"], int)
    for row in told["differences"]:
        assert row.keys() >= {"part", "measured_bytes", "predicted_bytes", "difference_bytes"}


def test_a_log_comes_from_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    data = (FOLDER / "vllm-0.11-share-taken.log").read_bytes() + b"\xff\xfe\x00broken"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    code, out, _ = run(monkeypatch, capsys, "-", "--lang", "ru")
    assert code == 0
    assert "свободно только 19.41 GiB из 31.36 GiB" in out
    assert "--gpu-memory-utilization 0.61" in out


def test_a_text_without_a_log_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Two Qwen3-30B on my card?\n", encoding="utf-8")
    code, out, err = run(monkeypatch, capsys, str(path))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "no engine's log" in err


@pytest.mark.parametrize("path", ["/nowhere/at/all.log", "."])
def test_a_file_that_cannot_be_read_is_named(
    path: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run(monkeypatch, capsys, path)
    assert code == 2
    assert path in err


def test_the_table_names_every_part(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(monkeypatch, capsys, str(FOLDER / "vllm-0.32-fits.log"))
    assert code == 0
    for words in ("vLLM 0.32.0: Qwen/Qwen3-8B", "weights", "activation peak", "KV cache pool", "35,376 tokens", "2.16"):
        assert words in out


def test_what_is_remembered_is_used_listed_and_forgotten(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    log = str(FOLDER / "vllm-0.32-fits.log")
    estimate = ["estimate", "Qwen/Qwen3-8B", "--gpu", "RTX 3090", "--max-model-len", "16384", "--max-num-seqs", "64"]
    estimate += ["--gpu-memory-utilization", "0.9", "--json"]

    def estimated() -> dict[str, Any]:
        monkeypatch.setattr(sys, "argv", ["rigfit", *estimate])
        with pytest.raises(SystemExit):
            main()
        return json.loads(capsys.readouterr().out)

    before = estimated()
    assert before["provenance"]["weights_bytes_per_gpu"] != "measured"
    code, out, _ = run(monkeypatch, capsys, log, "--gpu", "RTX 3090", "--remember", "--json")
    assert code == 0
    assert json.loads(out)["remembered"]["number"] == 1
    after = estimated()
    assert after["weights_bytes_per_gpu"] == round(15.28 * GIB)
    assert after["provenance"]["weights_bytes_per_gpu"] == "measured"
    assert after["kv_pool_bytes_per_gpu"]["value"] == pytest.approx(4.86 * GIB, abs=0.01 * GIB)
    assert any("vllm-0.32-fits.log" in line for line in after["assumptions"])
    code, out, _ = run(monkeypatch, capsys, "--remembered", "--json")
    assert [row["checkpoint"] for row in json.loads(out)["measured"]] == ["Qwen/Qwen3-8B"]
    assert run(monkeypatch, capsys, "--forget", "5")[0] == 2
    assert run(monkeypatch, capsys, "--forget", "1")[0] == 0
    assert estimated() == before


@pytest.mark.parametrize(
    ("name", "words"),
    [("sglang-graph-oom", "sglang"), ("vllm-0.11-share-taken", "--gpu"), ("llamacpp-fits", "llama.cpp")],
)
def test_what_can_not_be_remembered_is_refused(
    name: str, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(monkeypatch, capsys, str(FOLDER / f"{name}.log"), "--remember")
    assert (code, out) == (2, "")
    assert words in err
