"""What has come from the hub, by the size of its cache."""

from __future__ import annotations

from pathlib import Path

import pytest

from serving.fetched import cache_folder, fetched_bytes


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"HF_HOME": "/data"}, "/data/hub"),
        ({"HF_HOME": "/data", "HF_HUB_CACHE": "/cache"}, "/cache"),
        ({"HUGGINGFACE_HUB_CACHE": "/old"}, "/old"),
        ({"XDG_CACHE_HOME": "/xdg"}, "/xdg/huggingface/hub"),
        ({}, str(Path.home() / ".cache/huggingface/hub")),
    ],
)
def test_where_the_hubs_cache_is(env: dict[str, str], folder: str) -> None:
    assert cache_folder(env) == Path(folder)


def test_whole_and_partial_files_count_and_empty_length_does_not(tmp_path: Path) -> None:
    assert fetched_bytes(tmp_path, "a/b") == 0
    blobs = tmp_path / "models--a--b" / "blobs"
    blobs.mkdir(parents=True)
    (blobs / "whole").write_bytes(b"x" * 10_000)
    (blobs / "part.incomplete").write_bytes(b"x" * 5_000)
    with (blobs / "as-long-as-it-will-be.incomplete").open("wb") as file:
        file.truncate(1 << 40)
    assert fetched_bytes(tmp_path, "a/b") == 15_000
    assert fetched_bytes(tmp_path, "a/c") == 0
