"""Forms with audio, over real sockets."""

from __future__ import annotations

import os
from typing import Any

import pytest
from gateway_client import Client, fronted, run
from recording_engine import RecordingEngine, recording

from serving.config import Limits, Upstream

PATH = "/v1/audio/transcriptions"
TYPE = "multipart/form-data; boundary=xyz"
MODEL = b'--xyz\r\nContent-Disposition: form-data; name="model"\r\n\r\nm\r\n'
FILE = (
    b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n'
    b"RIFF\r\n--xy\x00\xff\r\n"
)
END = b"--xyz--\r\n"


async def post(client: Client, body: bytes, kind: str = TYPE, path: str = PATH) -> tuple[int, Any]:
    status, answer, _ = await client.post(body, path, headers={"Content-Type": kind})
    return status, answer


def behind(engine: RecordingEngine) -> tuple[Upstream, ...]:
    return (Upstream("m", engine.url),)


@pytest.mark.parametrize("body", [MODEL + FILE + END, FILE + MODEL + END], ids=["first", "last"])
@pytest.mark.parametrize("path", [PATH, "/v1/audio/translations"])
def test_a_form_goes_to_its_model_byte_for_byte(body: bytes, path: str) -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=behind(engine)) as client:
            assert (await post(client, body, path=path))[0] == 200
            (got,) = engine.got
            assert (got.line, got.body) == (f"POST {path}", body)
            assert got.headers["content-type"] == TYPE

    run(test)


def test_a_long_file_arrives_whole() -> None:
    async def test() -> None:
        body = FILE[:-2] + os.urandom(9_000_000) + b"\r\n" + MODEL + END
        async with recording() as engine, fronted(upstreams=behind(engine)) as client:
            assert (await post(client, body))[0] == 200
            assert engine.got[0].body == body

    run(test)


def test_an_alias_in_a_form_becomes_the_name_that_the_engine_knows() -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=behind(engine), aliases={"whisper-1": "m"}) as client:
            assert (await post(client, FILE + MODEL.replace(b"\r\nm\r\n", b"\r\nwhisper-1\r\n") + END))[0] == 200
            assert engine.got[0].body == FILE + MODEL + END

    run(test)


def test_what_a_caller_writes_beside_the_boundary_stays_behind() -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=behind(engine)) as client:
            body = (MODEL + END).replace(b"xyz", b"a (b)")
            kind = 'Multipart/Form-Data; charset=utf-16; boundary="a (b)"; x=y'
            assert (await post(client, body, kind))[0] == 200
            assert engine.got[0].headers["content-type"] == 'multipart/form-data; boundary="a (b)"'

    run(test)


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"", TYPE, 400, "invalid_form"),
        (b"hello", TYPE, 400, "invalid_form"),
        (MODEL + FILE, TYPE, 400, "invalid_form"),
        (FILE + END, TYPE, 400, "missing_required_parameter"),
        (MODEL + MODEL + END, TYPE, 400, "missing_required_parameter"),
        (MODEL.replace(b"\r\nm\r\n", b"\r\n\r\n") + END, TYPE, 400, "missing_required_parameter"),
        (MODEL.replace(b"\r\nm\r\n", b"\r\n\xff\r\n") + END, TYPE, 400, "missing_required_parameter"),
        (MODEL.replace(b'"model"', b'"model"; filename="m"') + END, TYPE, 400, "missing_required_parameter"),
        (MODEL.replace(b"\r\nm\r\n", b"\r\nother\r\n") + END, TYPE, 404, "model_not_found"),
        (MODEL * 2000 + END, TYPE, 400, "invalid_form"),
        (MODEL.replace(b"\r\n\r\n", b"\r\nX: " + b"y" * 50_000 + b"\r\n\r\n") + END, TYPE, 400, "invalid_form"),
        (MODEL + END, "multipart/form-data", 415, "unsupported_media_type"),
        (MODEL + END, 'multipart/form-data; boundary="x\xffz"', 415, "unsupported_media_type"),
        (MODEL + END, "multipart/form-data; boundary=" + "x" * 71, 415, "unsupported_media_type"),
        (b'{"model":"m"}', "application/json", 415, "unsupported_media_type"),
        (b"model=m", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
    ],
)
def test_forms_that_no_engine_shall_see(body: bytes, kind: str, status: int, code: str) -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=behind(engine)) as client:
            got, answer = await post(client, body, kind)
            assert (got, answer["error"]["code"]) == (status, code)
            assert not engine.got

    run(test)


def test_forms_are_bounded_like_other_bodies() -> None:
    async def test() -> None:
        limits = Limits(body_bytes=100_000)
        async with recording() as engine, fronted(upstreams=behind(engine), limits=limits) as client:
            assert (await post(client, FILE[:-2] + b"x" * 200_000 + b"\r\n" + MODEL + END))[0] == 413
            assert not engine.got

    run(test)


def test_a_form_is_no_way_to_other_paths() -> None:
    async def test() -> None:
        async with recording() as engine, fronted(upstreams=behind(engine)) as client:
            assert (await post(client, MODEL + END, path="/v1/chat/completions"))[0] == 415
            assert not engine.got

    run(test)
