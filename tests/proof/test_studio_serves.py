"""LangGraph's own development server loads ``langgraph.json`` and answers turns of a thread over its HTTP API."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / ".studio" / "bin" / "langgraph"
START_S = 100
TURN_S = 60
pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="make studio installs LangGraph's development server")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder, port = tmp_path_factory.mktemp("studio"), free_port()
    # it keeps its threads in the folder of langgraph.json, which therefore is not the repository's
    config = json.loads((ROOT / "langgraph.json").read_text())
    config["dependencies"] = [str(ROOT)]
    config["graphs"] = {name: str(ROOT / where) for name, where in config["graphs"].items()}
    (folder / "langgraph.json").write_text(json.dumps(config))
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "RIGFIT_DATA_DIR": str(folder / "data"),
        "RIGFIT_NETWORK": "off", "LANGGRAPH_CLI_NO_ANALYTICS": "1", "LANGSMITH_TRACING": "false",
    }  # fmt: skip
    words = [PROGRAM, "dev", "--no-browser", "--no-reload", "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(
            words, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, text=True
        )
    url = f"http://127.0.0.1:{port}"
    try:
        _until_ready(url, server, folder / "log")
        yield url
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait(30)


def _until_ready(url: str, server: subprocess.Popen[str], log: Path) -> None:
    ends = time.monotonic() + START_S
    while time.monotonic() < ends and server.poll() is None:
        try:
            with urlopen(f"{url}/ok", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.3)
    pytest.fail(f"it does not start:\n{log.read_text()[-3000:]}")


def post(url: str, body: dict[str, Any]) -> bytes:
    request = Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=TURN_S) as answer:
        return answer.read()


def turn(api: str, thread: str, content: object) -> dict[str, Any]:
    asked = {"assistant_id": "rigfit", "input": {"messages": [{"role": "user", "content": content}]}}
    return json.loads(post(f"{api}/threads/{thread}/runs/wait", asked))


@pytest.fixture
def thread(api: str) -> str:
    return json.loads(post(f"{api}/threads", {}))["thread_id"]


def test_a_thread_goes_on_from_turn_to_turn(api: str, thread: str) -> None:
    first = turn(api, thread, "Will Qwen3-8B fit on an RTX 3090?")
    assert first["messages"][-1]["content"].startswith("**Yes, it fits.**")
    second = turn(api, thread, "А две такие?")
    assert second["result"]["language"] == "ru"
    assert [call["name"] for call in second["result"]["tool_calls"]] == ["look_up_specs", "calculate_vram"]
    assert len(second["records"]) == 2


def test_content_in_parts_is_read_like_text(api: str, thread: str) -> None:
    done = turn(api, thread, [{"type": "text", "text": "Will Qwen3-8B fit on an RTX 3090?"}])
    assert done["messages"][-1]["content"].startswith("**Yes, it fits.**")
    assert done["turns"] == ["Will Qwen3-8B fit on an RTX 3090?"]


@pytest.mark.parametrize(
    ("asked", "said"), [("What is AWQ?", "AWQ"), ("Remember: my box has two RTX 3090", "3090"), ("hi", "Name a model")]
)
def test_no_kind_of_turn_blocks_the_server(api: str, thread: str, asked: str, said: str) -> None:
    assert said in turn(api, thread, asked)["messages"][-1]["content"]


def test_steps_are_streamed(api: str, thread: str) -> None:
    asked = {"role": "user", "content": "Will Qwen3-8B fit on an RTX 3090?"}
    body = {"assistant_id": "rigfit", "stream_mode": ["custom"], "input": {"messages": [asked]}}
    told = post(f"{api}/threads/{thread}/runs/stream", body).decode()
    assert told.index('"name":"look_up_specs"') < told.index('"name":"calculate_vram"')
    assert "markdown_chunk" in told
