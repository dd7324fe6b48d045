"""``rigfit ask --llm-url`` and ``rigfit ui --llm-url`` as commands, with the gateway's command in between."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from scripted_llm import call, say, scripted_llm

RIGFIT = str(Path(sys.executable).parent / "rigfit")
MODEL = "Qwen/Qwen3-30B-A3B"
PLAN = call("calculate_vram", models=[{"name": "Qwen3", "size_b": 30, "copies": 2}], gpus=[{"memory_gb": 96}])
ANSWER = "No: the weights alone take 113.7 GiB. FP8 for both fits."
QUESTION = "Will two Qwen3-30B fit on my 96 GB card?"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rigfit(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("RIGFIT_")}
    env |= {"RIGFIT_DATA_DIR": str(folder), "RIGFIT_NETWORK": "off"}
    return subprocess.run([RIGFIT, *words], capture_output=True, text=True, env=env, timeout=60, check=False)


def test_ask_runs_on_the_one_model_behind_the_gateway(tmp_path: Path) -> None:
    with scripted_llm(PLAN, say(ANSWER), models=[MODEL]) as (url, script):
        gateway = subprocess.Popen(
            [
                RIGFIT,
                "gateway",
                "--port",
                str(free_port()),
                "--json",
                "--upstream",
                f"{MODEL}={url.removesuffix('/v1')}",
            ],
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert gateway.stdout
            front = json.loads(gateway.stdout.readline())["url"]
            done = rigfit(tmp_path, "ask", QUESTION, "--rig", "none", "--json", "--llm-url", f"{front}/v1")
        finally:
            gateway.terminate()
            gateway.wait(30)
    answer = json.loads(done.stdout)
    assert answer["answer_markdown"] == ANSWER
    assert answer["llm"] == MODEL
    assert [request["model"] for request in script.requests] == [MODEL, MODEL]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--llm-model", "big"), "say --llm-url too"),
        (("--llm-url", "localhost:8000"), "begins with http:// or https://"),
    ],
)
@pytest.mark.parametrize("command", [("ask", "hello"), ("ui",)])
def test_a_wrong_endpoint_is_told_at_once(
    tmp_path: Path, command: tuple[str, ...], words: tuple[str, ...], said: str
) -> None:
    done = rigfit(tmp_path, *command, *words, "--lang", "en")
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
