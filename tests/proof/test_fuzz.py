"""Hostile names in every target: each file reads back to the same values, and nothing in it is ever run."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from hostile import plans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tools.domain import InstancePlan, Plan
from tools.errors import RequestError
from tools.launch.files import LaunchFile, write
from tools.launch.generate import TARGETS, generate

CASES = 10_000
EACH = -(-CASES // len(TARGETS))
RUN_EVERY = 25
"""Of so many cases one has its scripts run, with programs on the path that only note their words."""


@pytest.mark.timeout(900)
@pytest.mark.parametrize("target", list(TARGETS))
def test_hostile_words_stay_words(target: str, stage: Stage) -> None:
    seen: Counter[str] = Counter()

    @settings(max_examples=EACH, deadline=None, database=None, suppress_health_check=(HealthCheck.too_slow,))
    @given(case=st.data())
    def check(case: st.DataObject) -> None:
        plan, choices, language = case.draw(plans(target))
        seen["cases"] += 1
        try:
            made = generate(plan, target=target, language=language, choices=choices, checked=False)
        except RequestError:
            seen["refused"] += 1
            return
        values = set(_read_back(made.files))
        if target in CARRIES_NAMES:
            for name in _names(plan):
                assert any(name in value for value in values), f"{name!r} is not in the files as it is"
        if seen["cases"] % RUN_EVERY == 0:
            stage.run(made.files)
            seen["run"] += 1

    check()
    assert seen["cases"] >= EACH
    assert seen["cases"] - seen["refused"] >= EACH // 10, seen


CARRIES_NAMES = frozenset({"compose", "kubernetes", "llama-swap", "ray"})
"""Targets whose repositories stand in YAML."""


def _names(plan: Plan) -> Iterator[str]:
    """Repositories that the engines fetch; one that is converted beforehand stands in a script."""
    served: tuple[InstancePlan, ...] = plan.placement().instances
    for instance in served:
        if not instance.deployment.checkpoint.hypothetical:
            yield instance.deployment.checkpoint.repo


def _read_back(files: tuple[LaunchFile, ...]) -> Iterator[str]:
    for file in files:
        assert "\x00" not in file.content
        if file.path.endswith((".yaml", ".yml")):
            for document in yaml.load_all(file.content, Loader=yaml.CSafeLoader):
                yield from _leaves(document)


def _leaves(value: Any) -> Iterator[str]:
    """Texts of a document, and the words of those that are lists of words for a program."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield str(key)
            yield from _leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from _leaves(item)
    elif isinstance(value, str):
        yield value
        yield value.replace("$$", "$")
        yield from value.split()


class Stage:
    """A folder and a path of programs that note what they were called with; nothing else can be run."""

    KEPT = ("bash", "env", "dirname", "mkdir", "cat", "cp", "cut", "awk", "grep", "tail", "sort", "sed", "hostname")
    NOTED = ("touch", "RUN", "rm")
    QUIET = ("vllm", "llama-server", "ollama", "curl", "python3", "sleep", "nvidia-smi", "nproc", "df", "du")

    def __init__(self, root: Path) -> None:
        self._root, self._bin = root, root / "bin"
        self._bin.mkdir()
        for name in self.KEPT:
            found = shutil.which(name)
            if found:
                (self._bin / name).symlink_to(found)
        for name in (*self.NOTED, *self.QUIET):
            script = self._bin / name
            noted = f'echo {name} >>"{root}/journal"\n' if name in self.NOTED else ""
            script.write_text(f"#!{shutil.which('bash')}\n{noted}exit 0\n")
            script.chmod(0o755)

    def run(self, files: tuple[LaunchFile, ...]) -> None:
        """Run every script for a moment; none may call what only a hostile word names."""
        with tempfile.TemporaryDirectory(dir=self._root) as folder:
            for path in write(files, folder):
                if path.suffix != ".sh":
                    continue
                environment = {"PATH": str(self._bin), "HOME": folder, "VLLM_API_KEY": "k", "SGLANG_API_KEY": "k"}
                with contextlib.suppress(subprocess.TimeoutExpired):
                    subprocess.run(
                        [str(self._bin / "bash"), str(path)],
                        cwd=path.parent, env=environment, capture_output=True, timeout=1, check=False,
                    )  # fmt: skip
            assert not list(Path(folder).rglob("PWNED"))
        assert not (self._root / "journal").exists(), (self._root / "journal").read_text()


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)
