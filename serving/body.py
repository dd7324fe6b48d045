"""The one field of a request that routing needs, and the one that an alias changes."""

from __future__ import annotations

from typing import Protocol

import msgspec

from serving.errors import Refused


class _Head(msgspec.Struct):
    model: str


class Reader(Protocol):
    """Reads ``model`` from a request's body.

    Attributes:
        content_type: the header under which bodies are sent on.
    """

    content_type: str

    def model(self, body: bytes) -> str:
        """Return the name of the model that is asked for."""
        ...

    def renamed(self, body: bytes, model: str) -> bytes:
        """Return the body with another ``model``."""
        ...


class JsonReader:
    """Reads ``model`` from a request's JSON without building the rest of it.

    msgspec checks the whole document's syntax but makes no objects of the fields it was not asked for: 0.2 us for a
    short chat, 5 ms for one with 20 MB of images, where ``json`` takes 2 us and 35 ms and as much memory again.
    """

    content_type = "application/json"

    def __init__(self) -> None:
        self._head = msgspec.json.Decoder(_Head)
        self._fields = msgspec.json.Decoder(dict[str, msgspec.Raw])

    def model(self, body: bytes) -> str:
        """Return the name of the model that is asked for; of several fields ``model`` the last, as engines do.

        Raises:
            Refused: the body is no JSON object, or names no model.
        """
        try:
            return self._head.decode(body).model
        except msgspec.ValidationError as error:
            raise Refused("no_model") from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("not_json") from error

    def renamed(self, body: bytes, model: str) -> bytes:
        """Return the body with another ``model``; every other value stays as it was written, byte for byte.

        Raises:
            Refused: the body is no JSON object.
        """
        try:
            fields = self._fields.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise Refused("not_json") from error
        fields["model"] = msgspec.Raw(msgspec.json.encode(model))
        return msgspec.json.encode(fields)
