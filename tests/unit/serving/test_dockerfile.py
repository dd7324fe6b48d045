"""The image's recipe: what it starts from, who runs in it, and that all it copies is there."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
LINES = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text(encoding="utf-8")).splitlines()
STEPS = [line.split(None, 1) for line in LINES if line.strip() and not line.startswith("#")]


def steps(word: str) -> list[str]:
    return [rest for first, rest in STEPS if first == word]


def test_it_starts_from_pythons_official_slim_image_with_a_version() -> None:
    for base in steps("FROM"):
        assert re.fullmatch(r"python:3\.(1[1-9])-slim-[a-z]+( AS build)?", base), base


def test_it_does_not_run_as_root_and_starts_the_gateway() -> None:
    assert steps("USER") == ["10001:10001"]
    assert STEPS.index(["USER", "10001:10001"]) > max(i for i, step in enumerate(STEPS) if step[0] in {"RUN", "COPY"})
    assert steps("ENTRYPOINT") == ['["rigfit"]']
    assert steps("CMD") == ['["gateway"]']


def test_it_installs_only_what_the_locks_list() -> None:
    installs = [part for run in steps("RUN") for part in run.split("&&") if "pip install" in part]
    assert len(installs) == 3
    assert all(
        "--require-hashes" in part or (part.rstrip().endswith(" .") and "--no-deps" in part) for part in installs
    )


def test_the_builder_gets_the_package_and_nothing_else() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines() if line[:1] not in "#"]
    assert rules[0] == "*"
    kept = {rule[1:] for rule in rules if rule.startswith("!")}
    assert all((ROOT / name).exists() for name in kept)
    copied = {name for step in steps("COPY") if not step.startswith("--from") for name in step.split()[:-1]}
    assert copied - {"."} <= kept
    packages = {"agent", "prompts", "serving", "tools", "ui", "pyproject.toml", "README.md", "LICENSE", "NOTICE"}
    assert packages <= kept
    assert not any(fnmatch.fnmatch(secret, rule) for rule in kept for secret in (".git", ".env", ".venv", "tests"))
