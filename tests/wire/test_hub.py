"""The hub client against a local server that speaks the hub's wire format."""

from __future__ import annotations

import dataclasses
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tools.errors import HubUnavailable, UnknownModel
from tools.settings import Settings
from tools.specs.hub import HubClient, HubModel, override
from tools.specs.models import ModelCatalogue

COMMIT = "a" * 40
QWEN = {
    "architectures": ["Qwen3MoeForCausalLM"],
    "model_type": "qwen3_moe",
    "num_hidden_layers": 47,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 768,
    "torch_dtype": "bfloat16",
}


class Hub:
    """A hub of a few repositories; ``delay_s`` and ``broken`` make it slow or wrong."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, bytes]] = {}
        self.sizes: dict[str, dict[str, int]] = {}
        self.gated: set[str] = set()
        self.delay_s = 0.0
        self.broken: bytes | None = None
        self.requests: list[str] = []

    def add(self, repo: str, files: dict[str, Any], sizes: dict[str, int]) -> None:
        self.files[repo] = {name: json.dumps(content).encode() for name, content in files.items()}
        self.sizes[repo] = sizes

    def answer(self, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
        self.requests.append(f"{method} {path}")
        time.sleep(self.delay_s)
        parts = urlsplit(path).path.strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            return self._info("/".join(parts[2:4]))
        if len(parts) == 5 and parts[2] == "resolve":
            return self._file("/".join(parts[:2]), parts[3], parts[4])
        return 404, {}, b""

    def _info(self, repo: str) -> tuple[int, dict[str, str], bytes]:
        if self.broken is not None:
            return 200, {"Content-Type": "application/json"}, self.broken
        if repo not in self.files:
            return 401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}, b"{}"
        names = {name: len(content) for name, content in self.files[repo].items()} | self.sizes[repo]
        siblings = [{"rfilename": name, "size": size, "blobId": "b" * 40} for name, size in names.items()]
        info = {
            "_id": "1", "id": repo, "modelId": repo, "sha": COMMIT, "private": False, "disabled": False, "tags": [],
            "gated": "manual" if repo in self.gated else False, "downloads": 5, "likes": 1, "siblings": siblings,
        }  # fmt: skip
        return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()

    def _file(self, repo: str, revision: str, name: str) -> tuple[int, dict[str, str], bytes]:
        if repo in self.gated:
            return 403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted"}, b""
        content = self.files.get(repo, {}).get(name)
        if revision != COMMIT or content is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        etag = f'"{abs(hash(content)):x}"'
        return 200, {"ETag": etag, "X-Repo-Commit": COMMIT, "Content-Type": "text/plain"}, content


@contextmanager
def hub_server() -> Iterator[tuple[Hub, str]]:
    """Serve a hub; yields what it holds and its address."""
    state = Hub()

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            status, headers, body = state.answer(self.command, self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_GET = do_HEAD = _serve

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield state, f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def hub() -> Iterator[tuple[Hub, str]]:
    with hub_server() as served:
        yield served


def settings(folder: Path, endpoint: str, **changes: Any) -> Settings:
    return dataclasses.replace(Settings(data_dir=folder, hub_endpoint=endpoint, hub_timeout_s=3.0), **changes)


def test_reads_config_and_sizes_at_the_pinned_revision(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add(
        "Qwen/Qwen3-30B-A3B",
        {"config.json": QWEN},
        {
            "model-00001-of-00002.safetensors": 4_000_000_000,
            "model-00002-of-00002.safetensors": 57_000_000_000,
            "consolidated.safetensors": 61_000_000_000,
            "original/model.safetensors": 1,
            "tokenizer.json": 7,
        },
    )
    found = HubClient(settings(tmp_path, url)).model("Qwen/Qwen3-30B-A3B")
    assert found.revision == COMMIT
    assert found.config == QWEN
    assert found.weight_bytes == 61_000_000_000
    assert found.quant_config is None
    assert not found.gated
    assert all(COMMIT in request for request in state.requests if "resolve" in request)


def test_reads_the_quantisation_file_of_its_own(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    quant = {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}}
    state.add("nvidia/X-NVFP4", {"config.json": QWEN, "hf_quant_config.json": quant}, {"model.safetensors": 17})
    assert HubClient(settings(tmp_path, url)).model("nvidia/X-NVFP4").quant_config == quant


def test_a_second_look_up_asks_nothing(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("a/b", {"config.json": QWEN}, {"model.safetensors": 5})
    first = HubClient(settings(tmp_path, url)).model("a/b")
    asked = len(state.requests)
    assert HubClient(settings(tmp_path, url)).model("a/b") == first
    assert len(state.requests) == asked


def test_a_damaged_cache_is_read_again(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("a/b", {"config.json": QWEN}, {"model.safetensors": 5})
    first = HubClient(settings(tmp_path, url)).model("a/b")
    for file in tmp_path.rglob("a--b.json"):
        file.write_text("{broken")
    assert HubClient(settings(tmp_path, url)).model("a/b") == first


def test_a_missing_repository_is_unknown_not_unavailable(hub: tuple[Hub, str], tmp_path: Path) -> None:
    with pytest.raises(UnknownModel) as error:
        HubClient(settings(tmp_path, hub[1])).model("nobody/nothing")
    assert error.value.code == "errors_specs.hub_no_such_repo"


def test_a_gated_repository_is_explained(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("meta-llama/Llama", {"config.json": QWEN}, {"model.safetensors": 5})
    state.gated.add("meta-llama/Llama")
    with pytest.raises(HubUnavailable) as error:
        HubClient(settings(tmp_path, url)).model("meta-llama/Llama")
    assert error.value.code == "errors_specs.hub_gated"


def test_a_slow_hub_costs_the_time_limit_once(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("a/b", {"config.json": QWEN}, {})
    state.delay_s = 0.3
    client = HubClient(settings(tmp_path, url, hub_timeout_s=0.4))
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        client.model("a/b")
    assert time.monotonic() - started < 2.5  # import of the library included
    started = time.monotonic()
    with pytest.raises(HubUnavailable):
        HubClient(settings(tmp_path, url, hub_timeout_s=0.4)).model("c/d")
    assert time.monotonic() - started < 0.05


def test_nobody_listening(tmp_path: Path) -> None:
    client = HubClient(settings(tmp_path, "http://127.0.0.1:9"))
    with pytest.raises(HubUnavailable) as error:
        client.model("a/b")
    assert error.value.code == "errors_specs.hub_unreachable"


@pytest.mark.parametrize("body", [b"<html>captive portal</html>", b"[]", b'{"id": "a/b", "siblings": 7}', b"{}"])
def test_a_wrong_answer_is_a_clear_error(hub: tuple[Hub, str], tmp_path: Path, body: bytes) -> None:
    state, url = hub
    state.broken = body
    with pytest.raises(HubUnavailable) as error:
        HubClient(settings(tmp_path, url)).model("a/b")
    assert error.value.code.startswith("errors_specs.hub_")


def test_a_config_that_is_no_object(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("a/b", {"config.json": [1, 2]}, {})
    with pytest.raises(HubUnavailable) as error:
        HubClient(settings(tmp_path, url)).model("a/b")
    assert error.value.code == "errors_specs.hub_bad_answer"


def test_switched_off_asks_nobody(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    with pytest.raises(HubUnavailable) as error:
        HubClient(settings(tmp_path, url, network=False)).model("a/b")
    assert error.value.code == "errors_specs.hub_switched_off"
    assert not state.requests


@pytest.mark.parametrize("repo", ["../../etc/passwd", "a", "a/b/c", "a/b; rm -rf /", "a/" + "b" * 5000, ""])
def test_only_repository_names_are_asked_for(hub: tuple[Hub, str], tmp_path: Path, repo: str) -> None:
    state, url = hub
    with pytest.raises(UnknownModel):
        HubClient(settings(tmp_path, url)).model(repo)
    assert not state.requests


def test_a_data_folder_that_can_not_be_written_costs_only_the_cache(hub: tuple[Hub, str], tmp_path: Path) -> None:
    state, url = hub
    state.add("a/b", {"config.json": QWEN}, {"model.safetensors": 5})
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(HubUnavailable):  # nowhere to put the files: said, not raised as a disk error
        HubClient(settings(blocked, url)).model("a/b")


def test_the_hub_overrides_the_catalogue() -> None:
    spec = ModelCatalogue.load().find("Qwen/Qwen3-30B-A3B").spec
    changed = override(spec, HubModel("Qwen/Qwen3-30B-A3B", COMMIT, QWEN, None, 61_000_000_001, False))
    assert len(spec.layers) == 48
    assert len(changed.layers) == 47
    assert changed.published_bytes == 61_000_000_001
    assert changed.revision == COMMIT
    assert changed.checkpoints[0].file_bytes == 61_000_000_001
    assert changed.checkpoints[0].revision == COMMIT
    assert [n.params["revision"] for n in changed.status if n.code == "specs.from_hub"] == [COMMIT[:12]]


def test_the_hub_overrides_one_checkpoint() -> None:
    repo = "Qwen/Qwen3-30B-A3B-GPTQ-Int4"
    spec = ModelCatalogue.load().find(repo).spec
    config = QWEN | {"quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": True}}
    changed = override(spec, HubModel(repo, COMMIT, config, None, 16_000_000_000, False))
    mine = next(c for c in changed.checkpoints if c.repo == repo)
    assert mine.quantization.group_size == 64
    assert mine.file_bytes == 16_000_000_000
    assert mine.file_provenance == "published"
    assert changed.layers == spec.layers
    assert changed.revision is None


def test_an_unusable_config_leaves_the_catalogue_standing() -> None:
    spec = ModelCatalogue.load().find("Qwen/Qwen3-8B").spec
    changed = override(spec, HubModel("Qwen/Qwen3-8B", COMMIT, {"model_type": "qwen3"}, None, 5, False))
    assert changed.layers == spec.layers
    assert any(n.code == "specs.hub_config_unread" for n in changed.status)
