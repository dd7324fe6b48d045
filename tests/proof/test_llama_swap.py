"""llama-swap's configuration over the grid of plans: its schema, its loader's demands, the engine's own flags."""

from __future__ import annotations

import shlex
from typing import Any

import grid
from ruamel.yaml import YAML
from scripts_of_grid import faults

from tools.launch.checks.llama_swap import check_llama_swap, combinations_of
from tools.launch.checks.llamacpp import flag_faults


def configs() -> list[tuple[grid.Made, str]]:
    return [
        (one, file.content)
        for one in grid.accepted("llama-swap")
        for file in (one.files.files if one.files else ())
        if file.path.endswith("config.yaml")
    ]


def test_every_configuration_is_accepted() -> None:
    found = configs()
    assert len(found) >= 100
    for one, text in found:
        said = check_llama_swap(text)
        assert said.ok, (one.name, said.detail)


def test_every_command_is_one_that_the_engine_reads_and_every_engine_has_its_place() -> None:
    reader: Any = YAML(typ="safe", pure=True)
    for one, text in configs():
        document = reader.load(text)
        for model in document["models"].values():
            words = shlex.split(model["cmd"].replace("${PORT}", "5800"))
            assert flag_faults(words) == [], one.name
        matrix = document["routing"]["router"]["settings"]["matrix"]
        placed = {name for rule in matrix["sets"].values() for s in combinations_of(rule, matrix["sets"]) for name in s}
        assert {matrix["vars"][name] for name in placed} == set(document["models"]), one.name


def test_every_script_pleases_shellcheck() -> None:
    assert faults("llama-swap") == []
