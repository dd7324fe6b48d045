"""The stand-in hub speaks the hub's protocol."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

from peers import hub

TENSORS = (
    hub.Tensor("model.embed_tokens.weight", "BF16", (1000, 64)),
    hub.Tensor("model.layers.0.mlp.qweight", "I32", (512,)),
    hub.Tensor("model.layers.0.mlp.experts", "F8_E4M3", (8, 64, 32)),
)
BYTES = 2 * 64000 + 4 * 512 + 8 * 64 * 32
REPOSITORY = hub.Repository("example/model", {"model_type": "llama", "hidden_size": 64}, TENSORS, 66_000)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with hub.serving({REPOSITORY.name: REPOSITORY}, None) as port:
        yield f"http://127.0.0.1:{port}"


def get(url: str, **options: Any) -> tuple[int, Any, bytes]:
    with urlopen(Request(url, **options), timeout=10) as answer:
        return answer.status, answer.headers, answer.read()


def test_the_config_comes_with_the_headers_that_clients_need(address: str):
    url = f"{address}/example/model/resolve/main/config.json"
    status, headers, body = get(url, method="HEAD")
    assert (status, body) == (200, b"")
    assert headers["ETag"].startswith('"')
    assert len(headers["X-Repo-Commit"]) == 40
    _, _, content = get(url)
    assert json.loads(content) == REPOSITORY.config
    assert int(headers["Content-Length"]) == len(content)


@pytest.mark.parametrize("path", ["", "/revision/main", "/revision/main?blobs=true"])
def test_the_api_lists_files_with_sizes_and_counts_parameters(address: str, path: str):
    told = json.loads(get(f"{address}/api/models/example/model{path}")[2])
    sizes = {one["rfilename"]: one["size"] for one in told["siblings"]}
    assert set(sizes) == {"config.json", hub.INDEX, hub.SHARD}
    assert sizes[hub.SHARD] == BYTES + len(REPOSITORY.header())
    assert told["safetensors"]["parameters"] == {"BF16": 64000, "I32": 512, "F8_E4M3": 16384}
    assert told["safetensors"]["total"] == 64000 + 512 + 16384


def test_the_tree_lists_the_same_files(address: str):
    told = json.loads(get(f"{address}/api/models/example/model/tree/main?recursive=true")[2])
    assert {one["path"] for one in told} == {"config.json", hub.INDEX, hub.SHARD}


def test_the_index_names_every_tensor_and_the_bytes_of_all(address: str):
    index = json.loads(get(f"{address}/example/model/resolve/main/{hub.INDEX}")[2])
    assert index["metadata"]["total_size"] == BYTES
    assert index["weight_map"] == {tensor.name: hub.SHARD for tensor in TENSORS}


def test_a_header_read_by_ranges_lists_tensors_end_to_end(address: str):
    url = f"{address}/example/model/resolve/main/{hub.SHARD}"
    status, headers, start = get(url, headers={"Range": "bytes=0-7"})
    (length,) = struct.unpack("<Q", start)
    assert status == 206
    assert headers["Content-Range"] == f"bytes 0-7/{8 + length + BYTES}"
    _, _, text = get(url, headers={"Range": f"bytes=8-{7 + length}"})
    listed = json.loads(text)
    places = [entry["data_offsets"] for entry in listed.values()]
    assert [first for first, _ in places] == [0, *(end for _, end in places[:-1])]
    assert places[-1][1] == BYTES
    assert listed["model.layers.0.mlp.experts"]["shape"] == [8, 64, 32]


def test_a_range_past_the_header_is_zeros_and_one_past_the_end_is_refused(address: str):
    url = f"{address}/example/model/resolve/main/{hub.SHARD}"
    size = len(REPOSITORY.header()) + BYTES
    assert get(url, headers={"Range": "bytes=-16"})[2] == bytes(16)
    with pytest.raises(HTTPError) as refused:
        get(url, headers={"Range": f"bytes={size}-"})
    assert refused.value.code == 416


@pytest.mark.parametrize("path", ["/api/models/example/other", "/example/model/resolve/main/other.bin", "/", "/a/b/c"])
def test_what_is_not_there_is_not_found(address: str, path: str):
    with pytest.raises(HTTPError) as missing:
        get(address + path)
    assert missing.value.code == 404


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 300))
def test_a_range_never_reaches_past_the_end(first: int, last: int, size: int):
    start, end = hub.asked_range(f"bytes={first}-{last}", size)
    assert start == first
    assert end <= size - 1


@pytest.mark.parametrize("said", [None, "", "bytes=-", "bytes=1-2,4-5", "lines=0-1", "bytes=" + "9" * 500])
def test_other_ranges_are_ignored(said: str | None):
    assert hub.asked_range(said, 100) == (None, 0)


REACHED = """
import http.client, socket
asked = http.client.HTTPConnection("huggingface.co", 443, timeout=10)
asked.request("GET", "/example/model/resolve/main/config.json")
print(asked.getresponse().read().decode())
try:
    socket.create_connection(("192.0.2.1", 80), timeout=10)
except ConnectionRefusedError as refusal:
    print(refusal)
"""


def test_a_peers_process_reaches_the_stand_in_and_nothing_else(address: str):
    variables = {"PYTHONPATH": str(Path(hub.__file__).parent / "site"), "STAND_IN_PORT": address.rpartition(":")[2]}
    command = [sys.executable, "-c", REACHED]
    said = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert json.loads(said[0]) == REPOSITORY.config
    assert said[1] == "only huggingface.co has a stand-in here"
