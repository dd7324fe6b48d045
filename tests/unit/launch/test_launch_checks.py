"""A validator says no to what is wrong, and says that it is missing when it is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tools.launch.checks import compose as compose_check
from tools.launch.checks import shell as shell_check
from tools.launch.checks.compose import check_compose_schema
from tools.launch.checks.shell import check_shell
from tools.launch.checks.systemd import check_units
from tools.launch.checks.vllm import check_flags
from tools.launch.checks.yaml import check_yaml
from tools.launch.files import LaunchFile


@pytest.mark.parametrize("text", ["a: [1", "a: 1\n---\nb: 2\n", "\tx: 1", "a: *nowhere"])
def test_broken_yaml_is_seen(text: str):
    assert check_yaml(text).ok is False


@pytest.mark.parametrize(
    "text",
    [
        "services: {a: {imagge: x}}",
        "services: {a: {image: x, ports: {b: c}}}",
        "services: {a: {image: x, depends_on: {b: {condition: service_wealthy}}}}",
        "servicez: {}",
    ],
)
def test_what_the_compose_specification_does_not_allow_is_seen(text: str):
    assert check_compose_schema(text).ok is False


def test_a_good_compose_file_is_accepted():
    assert check_compose_schema("services: {a: {image: x}}").ok is True


@pytest.mark.parametrize(
    "words",
    [
        ["--no-such-flag"],
        ["--kv-cache-dtype", "fp9"],
        ["--max-num-seqs", "many"],
        ["--gpu-memory-utilization", "half"],
        ["--enforce-eager", "true"],
        ["--served-model-name"],
        ["--port"],
        ["--port", "1", "2"],
    ],
)
def test_what_vllms_parser_would_refuse_is_seen(words: list[str]):
    assert check_flags([["vllm", "serve", "M", *words]]).ok is False


def test_a_good_command_is_accepted():
    words = ["--served-model-name", "a", "b", "-tp", "2", "--kv-cache-dtype=fp8", "--no-enforce-eager"]
    assert check_flags([["vllm", "serve", "M", *words]]).ok is True


def test_what_is_not_a_serve_command_is_seen():
    assert check_flags([["vllm", "serve", "--port", "1"]]).ok is False
    assert check_flags([["rm", "-rf", "x"]]).ok is False


def test_a_careless_script_is_seen():
    found = check_shell([LaunchFile("x.sh", "#!/bin/bash\nrm -rf $1/*\n", True)])
    assert found[0].ok is False
    assert "SC2086" in found[0].detail


def test_without_scripts_there_is_nothing_to_check():
    assert check_shell([LaunchFile("README.md", "x")]) == ()


def test_a_missing_validator_never_says_yes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(shell_check, "which", lambda *_args, **_more: None)
    monkeypatch.setattr(compose_check, "find_spec", lambda _name: None)
    found = [*check_shell([LaunchFile("x.sh", "", True)]), check_compose_schema("services: {}")]
    assert [check.ok for check in found] == [None, None]
    assert all("not there" in check.detail for check in found)


UNIT = "[Service]\nType=exec\nExecStart=%h/here/run.sh\n"
RUN = LaunchFile("run.sh", "#!/bin/sh\n", executable=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="needs systemd-analyze")
@pytest.mark.parametrize(
    ("unit", "good"),
    [
        (UNIT, True),
        (UNIT + "KillMode=sometimes\n", False),
        (UNIT + "NoSuchSetting=1\n", False),
        (UNIT.replace("run.sh", "absent.sh"), False),
        ("[Unit]\nAfter=\n", False),
    ],
)
def test_units_are_judged_by_systemd_itself(unit: str, good: bool):
    (check,) = check_units([LaunchFile("a.service", unit), RUN], "%h/here")
    assert check.ok is good, check.detail


def test_without_units_or_without_systemd_nothing_is_claimed(monkeypatch: pytest.MonkeyPatch):
    assert check_units([RUN], "%h/here") == ()
    monkeypatch.setenv("PATH", "")
    (check,) = check_units([LaunchFile("a.service", UNIT), RUN], "%h/here")
    assert check.ok is None


def test_names_of_parsers_are_checked_as_the_server_does():
    for flag, name, good in (("reasoning", "qwen3", True), ("reasoning", "nosuch", False)):
        assert check_flags([["vllm", "serve", "M", f"--{flag}-parser", name]]).ok is good
    assert check_flags([["vllm", "serve", "M", "--tool-call-parser", "nosuch"]]).ok is False
    assert check_flags([["vllm", "preload", "--model", "M", "--weight-cache-health-port", "1"]]).ok is True
    assert check_flags([["vllm", "serve", "M", "--weight-cache-health-port", "1"]]).ok is False
