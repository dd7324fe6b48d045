"""The one field of a form that routing needs: forms carry the audio of ``/v1/audio/...``."""

from __future__ import annotations

import logging
import re
from typing import TYPE_CHECKING

from serving.errors import Refused

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartParser

FORM = "multipart/form-data"
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")
"""RFC 2046, 5.1.1."""
_TOKEN = re.compile(r"[0-9A-Za-z'+_\-.]+")
"""What needs no quotes in a header (RFC 2045, 5.1)."""
_MOST_PARTS = 1000
"""Starlette's limit of files and of fields, which vLLM keeps (starlette/formparsers.py)."""
_LONGEST_HEADER = 8192
_QUIET = logging.Logger("forms", logging.CRITICAL)
"""The parser's own log would let callers write to standard error."""


class FormReader:
    """Reads ``model`` from a form, with the parser that vLLM's server uses, so that both read the same.

    Attributes:
        content_type: the header under which the form is sent on: the type and the boundary, and nothing else that the
            caller wrote there.

    Raises:
        Refused: the header names no boundary.
    """

    def __init__(self, header: str) -> None:
        from python_multipart.multipart import parse_options_header

        try:
            kind, options = parse_options_header(header)
        except UnicodeEncodeError as error:
            raise Refused("wrong_form_type") from error
        self._boundary = options.get(b"boundary", b"")
        if kind != FORM.encode() or not _BOUNDARY.fullmatch(self._boundary):
            raise Refused("wrong_form_type")
        boundary = self._boundary.decode()
        self.content_type = f"{FORM}; boundary=" + (boundary if _TOKEN.fullmatch(boundary) else f'"{boundary}"')

    def model(self, body: bytes) -> str:
        """Return the name of the model that is asked for.

        Raises:
            Refused: the body is no whole form, or has not exactly one field ``model``.
        """
        start, end = self._place(body)
        try:
            return body[start:end].decode()
        except UnicodeDecodeError as error:
            raise Refused("no_form_model") from error

    def renamed(self, body: bytes, model: str) -> bytes:
        """Return the form with another ``model``; every other byte stays.

        Raises:
            Refused: as ``model``.
        """
        start, end = self._place(body)
        return b"".join((body[:start], model.encode(), body[end:]))

    def _place(self, body: bytes) -> tuple[int, int]:
        """Return where the value of the field ``model`` begins and ends."""
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser

        parts = _Parts()
        parser: MultipartParser = MultipartParser(
            self._boundary,
            {
                "on_part_begin": parts.begin,
                "on_part_data": parts.data,
                "on_part_end": parts.end,
                "on_header_field": parts.header_name,
                "on_header_value": parts.header_value,
                "on_header_end": parts.header_end,
                "on_end": parts.finish,
            },
            max_header_size=_LONGEST_HEADER,
        )
        parser.logger = _QUIET
        try:
            parser.write(body)
        except (FormParserError, UnicodeEncodeError) as error:
            raise Refused("not_form") from error
        if not parts.whole:
            raise Refused("not_form")
        if len(parts.models) != 1:
            raise Refused("no_form_model")
        return parts.models[0]


class _Parts:
    """What the parser tells: it is given the whole body at once, so its positions are the body's.

    Attributes:
        models: where the values of fields ``model`` begin and end.
        whole: whether the closing boundary was there.
    """

    def __init__(self) -> None:
        self.models: list[tuple[int, int]] = []
        self.whole = False
        self._parts = 0
        self._header = self._value = self._disposition = b""
        self._data: tuple[int, int] | None = None

    def begin(self) -> None:
        self._parts += 1
        if self._parts > _MOST_PARTS:
            raise Refused("not_form")
        self._header = self._value = self._disposition = b""
        self._data = None

    def data(self, body: bytes, start: int, end: int) -> None:
        # a value may be told in pieces, which lie side by side
        self._data = (self._data[0] if self._data else start, end)

    def header_name(self, body: bytes, start: int, end: int) -> None:
        self._header += body[start:end]

    def header_value(self, body: bytes, start: int, end: int) -> None:
        self._value += body[start:end]

    def header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def end(self) -> None:
        from python_multipart.multipart import parse_options_header

        _, options = parse_options_header(self._disposition)
        if options.get(b"name") == b"model":
            if b"filename" in options or self._data is None:
                raise Refused("no_form_model")
            self.models.append(self._data)

    def finish(self) -> None:
        self.whole = True
