"""Files reach the disk whole, only inside the chosen folder, and never over someone's work."""

from __future__ import annotations

import errno
import io
import os
import zipfile
from pathlib import Path

import pytest
from launch_factory import make_checkpoint, make_instance, make_plan

from tools.errors import BadValue, StorageError
from tools.launch.choices import Choices
from tools.launch.files import LaunchFile
from tools.launch.generate import generate, write, zip_bytes

FILES = (LaunchFile("a.txt", "один\n"), LaunchFile("sub/run.sh", "#!/bin/sh\n", executable=True))


def test_files_are_written_with_their_modes(tmp_path: Path):
    paths = write(FILES, tmp_path / "new")
    assert [path.read_text(encoding="utf-8") for path in paths] == ["один\n", "#!/bin/sh\n"]
    assert not os.access(paths[0], os.X_OK)
    assert os.access(paths[1], os.X_OK)


def test_writing_twice_is_the_same_as_once(tmp_path: Path):
    assert write(FILES, tmp_path) == write(FILES, tmp_path)


def test_a_different_file_is_never_replaced_and_nothing_else_is_written(tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "run.sh").write_text("mine")
    with pytest.raises(BadValue, match="file_exists"):
        write(FILES, tmp_path)
    assert (tmp_path / "sub" / "run.sh").read_text() == "mine"
    assert not (tmp_path / "a.txt").exists()


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "", "..", "a\\..\\x", "nul\x00"])
def test_no_path_leaves_the_folder(tmp_path: Path, path: str):
    for use in (lambda files: write(files, tmp_path / "in"), zip_bytes):
        with pytest.raises(BadValue, match="bad_path"):
            use([LaunchFile(path, "x")])
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_written_through(tmp_path: Path):
    outside = tmp_path / "outside"
    outside.write_text("one\n")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.txt").symlink_to(outside)
    with pytest.raises(BadValue, match="file_exists"):
        write([LaunchFile("a.txt", "two\n")], folder)
    assert outside.read_text() == "one\n"


def test_a_linked_folder_is_not_written_through(tmp_path: Path):
    outside, folder = tmp_path / "outside", tmp_path / "in"
    outside.mkdir()
    folder.mkdir()
    (folder / "sub").symlink_to(outside)
    with pytest.raises(BadValue, match="bad_path"):
        write(FILES, folder)
    assert list(outside.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError) as raised:
        write(FILES, tmp_path / "file" / "below")
    assert raised.value.params["reason"] == os.strerror(errno.ENOTDIR)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_storage_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_space(self: Path, data: bytes) -> int:
        with open("/dev/full", "wb", buffering=0) as full:
            return full.write(data)

    monkeypatch.setattr(Path, "write_bytes", no_space)
    with pytest.raises(StorageError) as raised:
        write(FILES, tmp_path)
    assert raised.value.params["reason"] == os.strerror(errno.ENOSPC)
    assert list(tmp_path.iterdir()) == []


def test_after_a_full_disk_the_files_can_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    whole = Path.write_bytes

    def half(self: Path, data: bytes) -> int:
        whole(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", half)
        with pytest.raises(StorageError):
            write(FILES, tmp_path)
    assert [path.read_text(encoding="utf-8") for path in write(FILES, tmp_path)] == ["один\n", "#!/bin/sh\n"]


def test_a_zip_is_the_same_every_time_and_keeps_modes():
    launch = generate(make_plan(make_instance()), target="vllm")
    assert zip_bytes(launch) == zip_bytes(generate(make_plan(make_instance()), target="vllm"))
    with zipfile.ZipFile(io.BytesIO(zip_bytes(launch))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [file.path for file in launch.files]
        assert archive.getinfo("start-all.sh").external_attr >> 16 == 0o100755
        assert archive.read("README.md").decode() == launch.files[-1].content


@pytest.mark.parametrize(
    "repo",
    [
        "/etc/passwd",
        "../../x",
        "Org/a..b",
        "Org/--help",
        "Org/x.git",
        "Org/мод",
        "Org/$(id)",
        "a/b/c",
        "Org/x y",
        "Org/" + "a" * 97,
    ],
)
def test_only_names_of_the_hub_reach_files(repo: str):
    plan = make_plan(make_instance(checkpoint=make_checkpoint(repo)))
    for target in ("compose", "vllm", "kubernetes", "slurm", "ray"):
        with pytest.raises(BadValue, match="bad_hub_id"):
            generate(plan, target=target, checked=False)


@pytest.mark.parametrize("repo", ["Qwen/Qwen3-8B", "a/b", "unsloth/gemma-3-27b-it-GGUF", "Org_1/x.y_z-1"])
def test_names_of_the_hub_are_known(repo: str):
    assert generate(make_plan(make_instance(checkpoint=make_checkpoint(repo))), checked=False).files


def test_a_choice_that_a_target_does_not_know_is_said():
    plan = make_plan(make_instance("a"))
    said = generate(plan, target="ray", choices=Choices(open=True, share="weights"), checked=False).notes
    assert {note.params["choice"] for note in said} == {"open", "share=weights"}
    assert {note.code for note in said} == {"launch.choice_unused"}
    assert not generate(plan, target="slurm", choices=Choices(open=True), checked=False).notes


@pytest.mark.parametrize(("language", "said"), [("en", "Cards 0–1 ({}) have"), ("ru", "Карты 0–1 ({}): на каждой")])
def test_cards_that_are_alike_are_named_once(language: str, said: str):
    launch = generate(make_plan(make_instance("a", gpus=(0, 1))), target="vllm", language=language, checked=False)
    text = next(file.content for file in launch.files if file.path == "README.md")
    assert text.count(said.format("NVIDIA RTX PRO 6000 Blackwell")) == 1
