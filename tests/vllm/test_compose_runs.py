"""A Compose file for the processor, run without Docker: its engine's entrypoint and its nginx, as they are written."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
import yaml

from tools.domain import Gpu, InstanceRequest, PlanRequest, Rig
from tools.launch.choices import Choices
from tools.launch.container_scripts import HEALTHY
from tools.launch.generate import generate
from tools.plan.planner import make_plan
from tools.units import GIB
from tools.vram.architecture import spec_from_config

MODULE = Path("/usr/lib/nginx/modules/ngx_http_js_module.so")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(not (NGINX and MODULE.exists()), reason="needs nginx with njs (libnginx-mod-http-js)")

CARD = Gpu("NVIDIA GeForce RTX 3060", "nvidia", 12 * GIB, 12 * GIB, compute_capability="8.6")
KEY = "only-for-this-test"


@dataclass
class Stage:
    """The services of a Compose file as processes of this machine."""

    folder: Path
    home: Path
    python: Path
    document: dict[str, Any]

    def text(self, name: str) -> str:
        """What Compose would put into a container: doubled dollars are one."""
        return self.document["configs"][name]["content"].replace("$$", "$")

    def engine(self, name: str, port: int) -> subprocess.Popen[bytes]:
        service = self.document["services"][name]
        assert service["entrypoint"] == ["python3", "/rigfit/start.py"]
        (self.folder / "start.py").write_text(self.text("start"))
        here = {"--port=8000": f"--port={port}", "--host=0.0.0.0": "--host=127.0.0.1"}
        words = [here.get(word, word) for word in map(str, service["command"])]
        path = {"PATH": f"{self.python.parent}:{os.environ['PATH']}", "HOME": str(self.home)}
        return subprocess.Popen(
            [str(self.python), str(self.folder / "start.py"), *words],
            env=path | self.variables(service),
            stdout=(self.folder / "log").open("wb"),
            stderr=subprocess.STDOUT,
        )

    def variables(self, service: dict[str, Any]) -> dict[str, str]:
        found = {n: KEY if str(v).startswith("${VLLM_API_KEY:?") else v for n, v in service["environment"].items()}
        assert not [value for value in found.values() if "$" in value]
        return found | {"HF_HOME": str(self.home)}

    def endpoint(self, name: str, engine: int, port: int) -> subprocess.Popen[bytes]:
        script, conf = self.folder / "front.js", self.folder / "nginx.conf"
        script.write_text(self.text("endpoint-js"))
        written = self.text("endpoint").replace("/etc/nginx/front.js", str(script))
        written = written.replace("listen 80;", f"listen 127.0.0.1:{port};").replace(
            f"//{name}:8000", f"//127.0.0.1:{engine}"
        )
        conf.write_text(written.replace("/tmp/nginx.pid", str(self.folder / "pid")))
        assert NGINX
        return subprocess.Popen([NGINX, "-p", str(self.folder), "-c", str(conf), "-g", "daemon off;"])


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """One tiny model under two names, for the processor, open to others and so behind the endpoint."""
    python, home = Path(os.environ["RIGFIT_VLLM_PYTHON"]).absolute(), tmp_path / "hub"
    command = [str(python), str(Path(__file__).with_name("tiny_models.py")), str(home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=300, check=True)
    repo, config = next(iter(json.loads(done.stdout).items()))
    asked = InstanceRequest(spec_from_config(config, name=repo), "bf16", context=1024, users=2)
    plan = make_plan(PlanRequest((asked, asked), Rig((CARD,)), same_model=True))
    option = next(option.id for option in plan.options if option.kind == "share")
    made = generate(plan, option=option, target="compose", choices=Choices(cpu=True, open=True))
    assert not [check for check in made.checks if check.ok is False]
    return Stage(tmp_path, home, python, yaml.safe_load(made.files[0].content))


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.terminate()
    for process in started:
        try:
            process.wait(90)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def call(port: int, path: str, body: Any = None, key: str = KEY) -> Any:
    data = json.dumps(body).encode() if body else None
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", data, headers), timeout=120) as answer:
        return json.loads(answer.read())


@pytest.mark.timeout(600)
def test_an_engine_starts_as_written_and_answers(stage: Stage, processes: list[subprocess.Popen[bytes]]):
    (name,) = [name for name, service in stage.document["services"].items() if "vllm" in service.get("command", ())]
    inside, outside = free_port(), free_port()
    processes.append(stage.engine(name, inside))
    healthy = [sys.executable, "-c", HEALTHY, f"http://127.0.0.1:{inside}/health"]
    deadline = time.monotonic() + 400
    while subprocess.run(healthy, stderr=subprocess.DEVNULL, timeout=60, check=False).returncode:
        assert processes[0].poll() is None, (stage.folder / "log").read_text()[-3000:]
        assert time.monotonic() < deadline, (stage.folder / "log").read_text()[-3000:]
        time.sleep(1)
    processes.append(stage.endpoint(name, inside, outside))
    time.sleep(1)
    names = [model["id"] for model in call(outside, "/v1/models")["data"]]
    assert len(names) == 2
    for model in names:
        body = {"model": model, "messages": [{"role": "user", "content": "import os"}], "max_tokens": 8}
        assert call(outside, "/v1/chat/completions", body)["usage"]["completion_tokens"] >= 1
    for path, key, status in (("/v1/models", "another", 401), ("/metrics", KEY, 404), ("/invocations", KEY, 404)):
        with pytest.raises(HTTPError, match=str(status)):
            call(outside, path, key=key)
    log = (stage.folder / "log").read_text()
    assert "VLLM_CPU_OMP_THREADS_BIND=" in log
    assert "skip_setup=False" in log  # bound to the cores that the program chose
