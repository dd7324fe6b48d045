"""``start-models.sh`` of text-generation-webui run for real; a small server stands in for the page."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "launch"))
from launch_factory import (  # pyright: ignore[reportMissingImports]
    make_gguf,
    make_llama,
    make_plan,
)

from tools.launch.job import prepare
from tools.launch.targets import webui


def page(name: str, repo: str, **more: Any) -> Any:
    return make_llama(name, (name,), engine="text-generation-webui", checkpoint=make_gguf(repo), **more)


SERVER = '''\
#!{python}
"""Answers like the page's API: the model is loaded half a second after the start."""
import json, os, sys, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

data = sys.argv[sys.argv.index("--user-data-dir") + 1]
words = open(os.path.join(data, "CMD_FLAGS.txt")).read().split()
port, model, began = int(words[words.index("--api-port") + 1]), words[words.index("--model") + 1], time.time()
with open("journal", "a") as journal:
    print("start", data, os.environ.get("CUDA_VISIBLE_DEVICES"), time.time(), os.getpid(), file=journal)

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        loaded = model if time.time() - began > 0.5 else "None"
        self.wfile.write(json.dumps({{"model_name": loaded, "lora_names": []}}).encode())

    def log_message(self, *args):
        pass

ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
'''


@pytest.mark.skipif(not (shutil.which("bash") and shutil.which("curl")), reason="needs bash and curl")
def test_the_pages_start_one_after_the_other_and_stop_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_tcp_port: int
) -> None:
    monkeypatch.setattr(webui, "FIRST_API", free_tcp_port)
    pages = page("a", "Org/Model-8B-GGUF"), page("b", "Org/Other-GGUF", order=1)
    plan = make_plan(*pages, engine="text-generation-webui")
    for file in webui.files(prepare(plan, None, "en")[0]):
        path = tmp_path / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.content)
        path.chmod(0o755 if file.executable else 0o644)
    (tmp_path / "server.py").touch()
    (tmp_path / "fetch_models.py").write_text("")
    (tmp_path / "start_linux.sh").write_text(SERVER.format(python=sys.executable))
    (tmp_path / "start_linux.sh").chmod(0o755)
    (tmp_path / "user_data/presets").mkdir()
    for name in ("Org_Model-8B-GGUF-Q4_K_M", "Org_Other-GGUF-Q4_K_M"):
        (tmp_path / "user_data/models" / name).mkdir()
    running = subprocess.Popen(["bash", "start-models.sh"], cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    assert running.stdout
    said = [next(running.stdout) for _ in range(3)]
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 130, said
    assert "Ready" in said[-1]
    rows = [line.split() for line in (tmp_path / "journal").read_text().splitlines()]
    assert [row[1] for row in rows] == ["user_data", "user_data-b"]
    assert float(rows[1][3]) - float(rows[0][3]) >= 0.5, "the second starts once the first is loaded"
    assert (tmp_path / "user_data-b/presets").is_dir()
    time.sleep(0.2)
    for row in rows:
        with pytest.raises(ProcessLookupError):
            os.kill(int(row[4]), 0)
