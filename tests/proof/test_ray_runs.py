"""The generated application on a real Ray, two replicas a model, with an engine that stands in for vLLM's.

Names, settings, routes, placement and environment are the generated ones; the number of replicas is the README's change
("More copies of a model"). vLLM itself is there for its classes of requests and settings, which Ray Serve LLM needs.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psutil
import pytest
import yaml

from tools.launch.generate import generate
from tools.plan.planner import make_plan
from tools.plan.resolve import resolve_arguments

ROOT = Path(__file__).parents[2]
LOCAL = Path(__file__).parent / "ray_local"
PYTHON = ROOT / ".vllm" / "bin" / "python"
RIGFIT = Path(sys.executable).parent / "rigfit"
REPLICAS = 2
UP_S, DOWN_S = 180, 30

pytestmark = [
    pytest.mark.timeout(UP_S + DOWN_S + 60),
    pytest.mark.skipif(not (ROOT / ".proof").exists(), reason="needs ray in .proof (make proof)"),
    pytest.mark.skipif(not PYTHON.exists(), reason="needs vLLM in .vllm (make vllm)"),
]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def generated() -> dict[str, Any]:
    """Two models that share a card, as they are written for Ray."""
    plan = make_plan(resolve_arguments(["Qwen/Qwen3-4B", "Qwen/Qwen3-1.7B"], gpu=["RTX 4090"]))
    files = generate(plan, option=plan.recommended, target="ray", checked=False).files
    return yaml.safe_load(next(file.content for file in files if file.path == "serve_config.yaml"))


@contextmanager
def ray_with(config: dict[str, Any], *, cards: int, cores: int) -> Iterator[None]:
    """Run a configuration on a Ray of its own; nothing of it is left behind, whatever happened."""
    with tempfile.TemporaryDirectory(prefix="rigfit-ray") as home, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(
            [str(PYTHON), str(LOCAL / "cluster.py"), str(cards), str(cores)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(home),
            start_new_session=True,
        )  # fmt: skip
        stopper = Timer(UP_S, end_session, [process.pid])
        stopper.start()
        try:
            assert process.stdin
            assert process.stdout
            print(json.dumps(config), file=process.stdin, flush=True)
            said = process.stdout.readline()
            stopper.cancel()
            errors.seek(0)
            assert said == "ready\n", f"{said}{errors.read()[-3000:]}"
            yield
            process.stdin.close()
            assert process.wait(DOWN_S) == 0
        finally:
            stopper.cancel()
            end_session(process.pid)
            process.wait()


def environment(home: str) -> dict[str, str]:
    """What Ray and the engines see: a home of their own, the stand-in, and no address to ask anything of."""
    return os.environ | {
        "HOME": home,
        "PYTHONPATH": str(LOCAL),
        "RAYLLM_VLLM_ENGINE_CLS": "stand_in:StandInEngine",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_memory_monitor_refresh_ms": "0",  # what else runs on this machine is not Ray's to judge
        "HF_ENDPOINT": "http://127.0.0.1:9",
    }


def end_session(leader: int) -> None:
    """End all that Ray started: its processes have many parents, and stay in the session of the first."""
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getsid(process.pid) == leader:
                process.kill()


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    made = generated()
    made["http_options"]["port"] = free_port()
    for model in models_of(made):
        assert model["deployment_config"] == {"num_replicas": 1}
        model["deployment_config"]["num_replicas"] = REPLICAS
    return made


@pytest.fixture(scope="module")
def ray(config: dict[str, Any]) -> Iterator[str]:
    engines = REPLICAS * len(models_of(config))
    # a core for each engine's worker, one for what stands before it, one for what takes requests in
    with ray_with(config, cards=REPLICAS, cores=2 * engines + 1):
        yield f"http://127.0.0.1:{config['http_options']['port']}"


@pytest.fixture(scope="module")
def gateway(ray: str, config: dict[str, Any]) -> Iterator[str]:
    port = free_port()
    upstreams = [word for name in names_of(config) for word in ("--upstream", f"{name}={ray}")]
    process = subprocess.Popen(
        [str(RIGFIT), "gateway", "--port", str(port), *upstreams], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout
        assert process.stdout.readline()
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(DOWN_S)


def models_of(config: dict[str, Any]) -> list[dict[str, Any]]:
    return config["applications"][0]["args"]["llm_configs"]


def names_of(config: dict[str, Any]) -> list[str]:
    return [model["model_loading_config"]["model_id"] for model in models_of(config)]


def post(url: str, body: dict[str, Any]) -> str:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=30) as answer:
        return answer.read().decode()


def chat(url: str, name: str) -> dict[str, Any]:
    """Return what the engine that answered says of itself."""
    messages = [{"role": "user", "content": "Hello!"}]
    answer = json.loads(post(f"{url}/v1/chat/completions", {"model": name, "messages": messages}))
    assert answer["model"] == name
    return json.loads(answer["choices"][0]["message"]["content"])


def streamed(url: str, name: str) -> dict[str, Any]:
    body = {"model": name, "messages": [{"role": "user", "content": "Hello!"}], "stream": True}
    events = [line.removeprefix("data: ") for line in post(f"{url}/v1/chat/completions", body).split("\n") if line]
    assert events[-1] == "[DONE]"
    assert len(events) > 3
    return json.loads("".join(json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]))


def test_every_name_is_listed(ray: str, config: dict[str, Any]):
    with urlopen(f"{ray}/v1/models", timeout=30) as answer:
        assert [row["id"] for row in json.load(answer)["data"]] == names_of(config)


def test_engines_are_made_as_the_file_says(ray: str, config: dict[str, Any]):
    for model in models_of(config):
        loading, kwargs = model["model_loading_config"], model["engine_kwargs"]
        found = chat(ray, loading["model_id"])
        assert found["served"] == [loading["model_id"]]
        assert found["model"] == loading["model_source"]
        assert {name: found["settings"][name] for name in kwargs} == kwargs
        assert found["environment"].items() >= model["runtime_env"]["env_vars"].items()


def test_engines_are_placed_as_the_file_says(ray: str, config: dict[str, Any]):
    for model in models_of(config):
        asked = model["placement_group_config"]
        found = chat(ray, model["model_loading_config"]["model_id"])
        assert asked["bundle_per_worker"]["GPU"] < 1
        # Ray adds the replica's own core to the first
        assert found["bundles"] == [{"CPU": 2, "GPU": asked["bundle_per_worker"]["GPU"]}]
        assert found["strategy"] == asked["strategy"]


@pytest.mark.parametrize("through", ["ray", "gateway"])
def test_both_replicas_of_every_model_answer(through: str, config: dict[str, Any], request: pytest.FixtureRequest):
    url = request.getfixturevalue(through)
    for name in names_of(config):
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: chat(url, name), range(32)))  # noqa: B023 - used at once
        assert {answer["served"][0] for answer in answers} == {name}
        assert len({answer["replica"] for answer in answers}) == REPLICAS


@pytest.mark.parametrize("through", ["ray", "gateway"])
def test_streams_and_completions_come_through(through: str, config: dict[str, Any], request: pytest.FixtureRequest):
    url = request.getfixturevalue(through)
    for name in names_of(config):
        assert streamed(url, name)["served"] == [name]
        answer = json.loads(post(f"{url}/v1/completions", {"model": name, "prompt": "Hello"}))
        assert json.loads(answer["choices"][0]["text"])["served"] == [name]


def test_the_gateway_knows_ray_as_ready(gateway: str, config: dict[str, Any]):
    with urlopen(f"{gateway}/v1/models", timeout=30) as answer:
        assert {row["id"]: row["state"] for row in json.load(answer)["data"]} == dict.fromkeys(
            names_of(config), "ready"
        )


@pytest.mark.parametrize("through", ["ray", "gateway"])
def test_an_unknown_name_is_not_found(through: str, request: pytest.FixtureRequest):
    with pytest.raises(HTTPError) as refused:
        chat(request.getfixturevalue(through), "nobody/knows-it")
    assert refused.value.code == 404
