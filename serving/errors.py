"""What the gateway refuses, in the shape in which OpenAI's API reports errors.

Shape: ``{"error": {"message", "type", "param", "code"}}`` (platform.openai.com/docs/guides/error-codes).
"""

from __future__ import annotations

import json
from typing import NamedTuple

from prompts import text
from tools.domain import Note
from tools.errors import RequestError

SHOWN = 100
"""Characters of a caller's text that an answer repeats."""


class _Kind(NamedTuple):
    status: int
    code: str
    type: str = "invalid_request_error"
    param: str | None = None


_BUSY = "server_error"
_KINDS = {
    "unknown_model": _Kind(404, "model_not_found", param="model"),
    "unknown_route": _Kind(404, "unknown_url"),
    "wrong_method": _Kind(405, "method_not_allowed"),
    "no_upgrade": _Kind(400, "upgrade_not_supported"),
    "wrong_key": _Kind(401, "invalid_api_key"),
    "foreign_page": _Kind(403, "origin_not_allowed"),
    "not_json": _Kind(400, "invalid_json"),
    "no_model": _Kind(400, "missing_required_parameter", param="model"),
    "not_form": _Kind(400, "invalid_form"),
    "no_form_model": _Kind(400, "missing_required_parameter", param="model"),
    "wrong_type": _Kind(415, "unsupported_media_type"),
    "wrong_form_type": _Kind(415, "unsupported_media_type"),
    "compressed": _Kind(415, "unsupported_media_type"),
    "wrong_expectation": _Kind(417, "expectation_failed"),
    "body_too_large": _Kind(413, "request_too_large"),
    "body_too_slow": _Kind(408, "request_timeout"),
    "body_broken": _Kind(400, "invalid_body"),
    "gateway_full": _Kind(503, "overloaded", _BUSY),
    "gateway_stops": _Kind(503, "stopping", _BUSY),
    "engine_unreachable": _Kind(503, "engine_unreachable", _BUSY),
    "engine_broke_off": _Kind(502, "engine_broke_off", _BUSY),
    "engine_silent": _Kind(504, "engine_timeout", _BUSY),
    "waited_too_long": _Kind(503, "model_wait_too_long", _BUSY),
    "queue_full": _Kind(503, "model_queue_full", _BUSY),
    "wake_failed": _Kind(503, "model_wake_failed", _BUSY),
    "start_failed": _Kind(503, "model_start_failed", _BUSY),
    "engine_starting": _Kind(503, "model_starting", _BUSY),
    "pinned_out": _Kind(503, "model_pinned_out", _BUSY),
    "takes_no_turns": _Kind(409, "model_takes_no_turns", param="model"),
}


class Refused(RequestError):
    """A request that the gateway answers itself, with an error.

    Attributes:
        status: the HTTP status.
        retry_after_s: seconds after which asking again makes sense, for the ``Retry-After`` header.
    """

    def __init__(self, kind: str, *, retry_after_s: float | None = None, **params: object) -> None:
        self.kind = _KINDS[kind]
        self.status = self.kind.status
        self.retry_after_s = retry_after_s
        super().__init__(f"errors_serving.{kind}", **params)

    def body(self, language: str) -> bytes:
        """Return the answer's JSON."""
        kind = self.kind
        error = {
            "message": text(language, self.code, **{name: _said(language, one) for name, one in self.params.items()}),
            "type": kind.type,
            "param": kind.param,
            "code": kind.code,
        }
        return json.dumps({"error": error}, ensure_ascii=False).encode()


def _said(language: str, value: object) -> object:
    """Return a parameter as a message takes it: a Note is a sentence of its own."""
    if not isinstance(value, Note):
        return value
    return text(language, value.code, **{name: _said(language, one) for name, one in value.params.items()})


def shown(word: str) -> str:
    """Return a caller's text as an answer may repeat it: short, and nothing in it that steers a terminal."""
    plain = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in word[: SHOWN + 1])
    return plain if len(plain) <= SHOWN else plain[:SHOWN] + "…"
