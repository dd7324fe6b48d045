"""The shape of the project: who may import whom, where the environment is read, what is shipped."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import tools

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "tools", "serving", "ui", "prompts")
MAY_IMPORT = {
    "prompts": set[str](),
    "tools": {"prompts"},
    "agent": {"tools", "prompts"},
    "serving": {"tools", "prompts"},
    "ui": {"agent", "tools", "serving", "prompts"},
}


PROBE = {ROOT / "tools" / "vram" / name for name in ("probe.py", "pretended.py")}
"""Scripts for the interpreter of vLLM's own environment: no part of this one."""


def modules(package: str) -> list[Path]:
    return sorted(set((ROOT / package).rglob("*.py")) - PROBE)


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_dependencies_point_one_way(package: str) -> None:
    for path in modules(package):
        ours = {name.partition(".")[0] for name in imports(path)} & set(PACKAGES)
        assert ours - {package} <= MAY_IMPORT[package], path


def test_frameworks_stay_where_they_belong() -> None:
    homes = {"gradio": {"ui"}, "langgraph": {"agent"}, "langchain_openai": {"agent"}, "vllm": set[str]()}
    for package in PACKAGES:
        for path in modules(package):
            roots = {name.partition(".")[0] for name in imports(path)}
            for framework, allowed in homes.items():
                assert framework not in roots or package in allowed, f"{path} imports {framework}"
            in_toolkit = path.name == "toolkit.py" and package == "tools"
            assert package != "tools" or in_toolkit or "langchain_core" not in roots, path


def test_the_probe_and_the_product_import_nothing_of_each_other() -> None:
    for path in PROBE:
        assert not {name.partition(".")[0] for name in imports(path)} & set(PACKAGES), path
        assert path.read_text(encoding="utf-8").count("\n") <= 400, path
    for package in PACKAGES:
        for path in modules(package):
            assert not {name.rpartition(".")[2] for name in imports(path)} & {"probe", "pretended"}, path


def test_only_settings_reads_the_environment() -> None:
    for package in PACKAGES:
        for path in modules(package):
            if path == ROOT / "tools" / "settings.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                read = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
                assert not read, f"{path} reads the environment"


def test_broad_except_only_at_the_edge() -> None:
    """The page and the commands answer for everything; the graph for its tools, which may raise anything."""
    for package in set(PACKAGES) - {"ui"}:
        for path in modules(package):
            if path == ROOT / "agent/graph.py":
                continue
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                broad = isinstance(node, ast.ExceptHandler) and (
                    node.type is None or (isinstance(node.type, ast.Name) and node.type.id.endswith("Exception"))
                )
                assert not broad, f"{path} catches everything"


def test_files_stay_small() -> None:
    for package in PACKAGES:
        for path in modules(package):
            assert path.read_text(encoding="utf-8").count("\n") <= 400, path


def test_the_packages_are_ours() -> None:
    assert Path(tools.__file__ or "").parents[1] == ROOT


def test_the_wheel_holds_the_product_only() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == list(PACKAGES)
    assert "Private :: Do Not Upload" in project["project"]["classifiers"]


def test_locks_are_hashed_and_name_no_index() -> None:
    for name in ("requirements-build.lock", "requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        entries = [entry for entry in text.replace("\\\n", " ").splitlines() if entry.strip()]
        assert entries
        assert all("--hash=sha256:" in entry for entry in entries)


def test_planning_loads_no_framework() -> None:
    code = (
        "import sys\nfrom ui.cli import main\n"
        "sys.argv = ['rigfit', 'plan', 'Qwen/Qwen3-8B', '--gpu', 'RTX 3090', '--json']\n"
        "try:\n    main()\nexcept SystemExit as stop:\n    assert not stop.code, stop.code\n"
        "heavy = {'langgraph', 'langchain_core', 'gradio', 'pydantic', 'openai', 'huggingface_hub', 'numpy'}\n"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
