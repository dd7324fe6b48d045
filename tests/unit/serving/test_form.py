"""Reading a form as vLLM's server does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from serving.errors import Refused
from serving.form import FormReader

BOUNDARY = "b0"
PIECES = st.sampled_from(
    [
        b"--b0\r\n",
        b"--b0--\r\n",
        b"\r\n--b0\r\n",
        b"\r\n--b0--",
        b'Content-Disposition: form-data; name="model"\r\n\r\n',
        b'content-disposition: form-data; name="model"; filename="x"\r\n\r\n',
        b'Content-Disposition: form-data; name="x"\r\nContent-Disposition: form-data; name="model"\r\n\r\n',
        b'Content-Disposition: form-data; name="file"; filename="a"\r\nContent-Type: audio/wav\r\n\r\n',
        b"\r\n",
        b"\r",
        b"--",
        b"a",
        b"other",
        b"\xff",
    ]
)
PART = st.tuples(
    st.sampled_from(['name="model"', "name=model", 'name="file"; filename="model"', 'name="x"; y="model"']),
    st.sampled_from([b"a", b"b/c", b"\r\n--b", b"--b0", b"-", "é".encode()]),
)


def starlette_reads(body: bytes) -> str | None:
    """Return the model that FastAPI would take from a form: the last field of that name."""

    async def pieces() -> AsyncGenerator[bytes, None]:
        yield body

    headers = Headers({"content-type": f"multipart/form-data; boundary={BOUNDARY}"})
    try:
        form = asyncio.run(MultiPartParser(headers, pieces()).parse())
    except (MultiPartException, AssertionError):
        return None
    model = form.get("model")
    return model if isinstance(model, str) else None


def we_read(body: bytes) -> str | None:
    try:
        return FormReader(f"multipart/form-data; boundary={BOUNDARY}").model(body)
    except Refused:
        return None


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_whatever_is_read_is_what_the_engine_reads(body: bytes) -> None:
    ours = we_read(body)
    assert ours is None or ours == starlette_reads(body)


@given(st.lists(PART, max_size=6))
def test_whole_forms_with_one_model_are_read_and_renamed(parts: list[tuple[str, bytes]]) -> None:
    whole = b"".join(
        b"--b0\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n" % (name.encode(), value) for name, value in parts
    )
    body = whole + b"--b0--\r\n"
    models = [value for name, value in parts if name in {'name="model"', "name=model"}]
    # a value that ends the part early makes another form of it
    if any(b"\r\n--b0" in b"\r\n" + value for _, value in parts):
        return
    if len(models) != 1:
        assert we_read(body) is None
        return
    assert we_read(body) == starlette_reads(body) == models[0].decode()
    renamed = FormReader(f"multipart/form-data; boundary={BOUNDARY}").renamed(body, "new/name")
    assert starlette_reads(renamed) == "new/name"
    assert len(renamed) == len(body) - len(models[0]) + len(b"new/name")
