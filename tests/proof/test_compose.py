"""Every Compose file of the grid, as the specification's schema and Docker Compose itself read it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grid import Made, accepted
from test_compose_front import MODULE, NGINX

from tools.launch.checks.compose import check_compose_config, check_compose_schema, compose_command, read_by_compose
from tools.launch.checks.shell import check_shell
from tools.launch.checks.vllm import check_flags

SECRETS = {"HF_TOKEN": "hf-secret-7", "VLLM_API_KEY": "key-secret-8", "WEBUI_SECRET_KEY": "page-secret-9"}
CASES = accepted("compose")


def text_of(made: Made) -> str:
    return next(file.content for file in made.files.files if file.path.endswith("compose.yaml")) if made.files else ""


@pytest.fixture(scope="module")
def tool() -> tuple[str, ...]:
    beside = str(Path(__file__).parents[2] / ".proof" / "bin")
    os.environ["PATH"] = f"{os.environ['PATH']}:{beside}"
    found = compose_command()
    if not found:
        pytest.skip("needs Docker Compose 2 or newer")
    return found


def plain(value: Any) -> Any:
    """A value as Compose hands it on: without the doubled dollars, and with nothing of the environment in it."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return value.replace("$$", "$") if isinstance(value, str) else value


def test_the_grid_is_wide_enough():
    assert len(CASES) >= 60


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_the_specification_and_the_engines_parser_accept_it(made: Made):
    assert made.files
    text = text_of(made)
    check = check_compose_schema(text)
    assert check.ok, check.detail
    engines = [s["command"] for s in yaml.safe_load(text)["services"].values() if "vllm" in s.get("command", ())]
    assert engines
    check = check_flags(plain(engines))
    assert check.ok, check.detail
    assert [check.detail for check in check_shell(made.files.files) if check.ok is False] == []


@pytest.mark.parametrize("made", CASES, ids=lambda made: made.name)
def test_docker_compose_reads_it_as_it_was_meant(made: Made, tool: tuple[str, ...]):
    text = text_of(made)
    done = read_by_compose(tool, text, **SECRETS)
    assert done.returncode == 0, done.stderr
    read, written = json.loads(done.stdout), plain(yaml.safe_load(text))
    assert read["services"].keys() == written["services"].keys()
    for name, service in written["services"].items():
        assert read["services"][name]["command"] == service.get("command")
        assert read["services"][name].get("depends_on", {}).keys() == service.get("depends_on", {}).keys()
    for name, config in written["configs"].items():
        assert plain(read["configs"][name]["content"]) == config["content"]
    for secret in SECRETS.values():
        assert secret not in text
    holders = {n for n, s in read["services"].items() if SECRETS["HF_TOKEN"] in (s.get("environment") or {}).values()}
    assert holders == {"download"}


@pytest.mark.parametrize(
    "wrong",
    [
        "services: {a: {image: x, depends_on: [b]}}",
        "services: {a: {image: x, volumes: ['cache:/x']}}",
        "services: {a: {image: x, configs: [c]}}",
        "services: {a: {image: x, environment: {K: '${NEVER:?set it}'}}}",
    ],
)
def test_docker_compose_sees_what_the_schema_cannot(wrong: str, tool: tuple[str, ...]):
    assert check_compose_schema(wrong).ok
    assert check_compose_config(wrong).ok is False


@pytest.mark.skipif(not (NGINX and MODULE.exists()), reason="needs nginx with njs (libnginx-mod-http-js)")
def test_nginx_accepts_every_endpoint(tmp_path: Path):
    assert NGINX
    seen: set[str] = set()
    for made in CASES:
        configs = plain(yaml.safe_load(text_of(made)))["configs"]
        conf = configs.get("endpoint", {}).get("content")
        if conf is None or conf in seen:
            continue
        seen.add(conf)
        script = tmp_path / "front.js"
        script.write_text(configs["endpoint-js"]["content"])
        path = tmp_path / "nginx.conf"
        path.write_text(conf.replace("/etc/nginx/front.js", str(script)))
        command = [NGINX, "-t", "-q", "-p", str(tmp_path), "-c", str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert done.returncode == 0, done.stderr
    assert len(seen) >= 5


def test_the_programs_inside_are_python():
    configs = plain(yaml.safe_load(text_of(CASES[0])))["configs"]
    programs = {name: config["content"] for name, config in configs.items() if not name.startswith("endpoint")}
    assert {"download", "start"} <= set(programs)
    for name, program in programs.items():
        assert compile(program, name, "exec").co_names
