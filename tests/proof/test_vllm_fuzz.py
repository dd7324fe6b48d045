"""Whatever stands in a plan, the vLLM files say it to the engine word for word, and run nothing else.

Bash itself runs the scripts: a stand-in for the engine writes down its words, and nothing else may appear beside them.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import (  # pyright: ignore[reportMissingImports]
    make_checkpoint,
    make_instance,
    make_plan,
)

from tools.domain import InstancePlan
from tools.errors import BadValue
from tools.launch.choices import Choices
from tools.launch.files import LaunchFile
from tools.launch.job import download_arguments, prepare
from tools.launch.targets import vllm
from tools.launch.targets.vllm_scripts import argv

SIGNS = "$`'\"\\{}[]&*!|><%@#:,;?~^= ()-\n\r\t\x00\x1b"
anything = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from(SIGNS), min_size=1, max_size=24)
printable = st.text(
    st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")) | st.sampled_from(SIGNS[:-5]), min_size=1, max_size=24
).map(lambda text: "." + text if text.startswith("-") else text)
words = st.integers(0, 19).flatmap(lambda drawn: printable if drawn else anything)
"""What a command line can carry, and now and then what it can't."""
wanted = st.fixed_dictionaries(
    {
        "repo": words,
        "served": st.lists(words, min_size=1, max_size=3),
        "revision": words,
        "name": anything,
        "precision": anything,
        "flag": words,
        "language": st.sampled_from(["en", "ru"]),
        "choices": st.sampled_from([Choices(), Choices(cpu=True), Choices(open=True)]),
        "length": st.integers(1, 40_960),
        "users": st.integers(1, 1 << 20),
        "share": st.floats(0.01, 1.0),
        "awake": st.booleans(),
    }
)
Asked = dict[str, object]
QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large)
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking would run bash for minutes


def instance_of(asked: Asked) -> InstancePlan:
    repo, served = f"{asked['repo']}/{asked['repo']}", tuple(asked["served"])  # pyright: ignore[reportArgumentType]
    checkpoint = make_checkpoint(repo, revision=asked["revision"], precision=asked["precision"])
    return make_instance(
        str(asked["name"]),
        served,
        checkpoint=checkpoint,
        awake=bool(asked["awake"]),
        max_model_len=asked["length"],
        max_num_seqs=asked["users"],
        gpu_memory_utilization=asked["share"],
        extra_flags=(f"--override-generation-config={asked['flag']}",),
    )


def files_of(asked: Asked) -> tuple[list[list[str]], list[str], tuple[LaunchFile, ...]] | None:
    """The words each engine must get, those of the download, and the files; None where a name is refused."""
    plan = make_plan(instance_of(asked), make_instance("other", order=1))
    try:
        job = prepare(plan, None, str(asked["language"]), choices=asked["choices"])[0]  # pyright: ignore[reportArgumentType]
        return [argv(job, unit) for unit in job.units], download_arguments(job), vllm.files(job)
    except BadValue:
        return None


def read_by_shlex(script: str) -> list[str]:
    return [w for w in shlex.split(script[script.index("\nexec ") + 6 :].replace(" \\\n", " ")) if w != "$@"]


@settings(max_examples=2000, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(wanted)
def test_every_script_reads_back_to_the_same_words(asked: Asked):
    made = files_of(asked)
    if made is None:
        return
    commands, fetched, files = made
    serves = [file for file in files if file.path.startswith("serve-")]
    assert [read_by_shlex(file.content) for file in serves] == commands
    fetch = next(file for file in files if file.path == "fetch.sh")
    assert read_by_shlex(fetch.content)[2:] == fetched
    for file in files:
        compile(file.content, file.path, "exec") if file.path.endswith(".py") else None


@pytest.mark.timeout(600)
@pytest.mark.skipif(not shutil.which("bash"), reason="needs bash")
@settings(max_examples=120, deadline=None, suppress_health_check=QUIET, phases=PHASES)
@given(asked=wanted)
@example(
    asked={
        "repo": "$(touch hacked)",
        "served": ["`touch hacked`", "a'b\"c", ";touch hacked;"],
        "revision": "${HOME}",
        "name": "\ntouch hacked\n",
        "precision": "x\ntouch hacked",
        "flag": '{"a": "$(touch hacked)"}',
        "language": "en",
        "choices": Choices(open=True),
        "length": 1,
        "users": 1,
        "share": 0.5,
        "awake": True,
    }
)
def test_bash_itself_passes_every_word_on_and_does_nothing_else(tmp_path_factory: pytest.TempPathFactory, asked: Asked):
    made = files_of(asked)
    if made is None:
        return
    commands, fetched, files = made
    folder, tools = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("bin")
    stand_in(tools / "vllm", tools / "said")
    stand_in(tools / "python3", tools / "said")
    scripts = [file for file in files if file.path.startswith("serve-") or file.path == "fetch.sh"]
    for file in scripts:
        (folder / file.path).write_text(file.content, encoding="utf-8")
    env = {"PATH": f"{tools}:/usr/bin:/bin", "VLLM_API_KEY": "x", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    heard: list[list[str]] = []
    for file in scripts:
        subprocess.run(["bash", file.path], cwd=folder, env=env, check=True, capture_output=True, timeout=30)
    heard = [json.loads(line) for line in (tools / "said").read_text(encoding="utf-8").splitlines()]
    said = [line for line in heard if not str(line[0]).endswith("preflight.py")]
    assert said == [command[1:] for command in commands] + [["download.py", *fetched]]
    assert sorted(os.listdir(folder)) == sorted(file.path for file in scripts)


def stand_in(path: Path, journal: Path) -> None:
    """A program that writes its words down as one line of JSON, in no more than bash and what it always has."""
    script = f'import json, sys; print(json.dumps(sys.argv[1:]), file=open({str(journal)!r}, "a", encoding="utf-8"))'
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)
