"""A small class that sees every request to a vLLM engine first, and asks for its API key.

``--api-key`` and ``VLLM_API_KEY`` guard paths under ``/v1``, ``/v2``, ``/inference`` and ``/cohere`` alone
(``GUARDED_PREFIX``, vllm/entrypoints/serve/middleware/authenticate.py 0.32.0); the engine's own help says not to rely
on that, for ``/invocations`` answers the same requests.
"""

from __future__ import annotations

FILE = "guard/rigfit_guard.py"
CLASS = "rigfit_guard.Key"
"""For ``--middleware``, with the folder ``guard`` on ``PYTHONPATH``."""

PROGRAM = '''\
"""Asks for the API key on every route but /health; vLLM's own check leaves some open, /invocations among them."""
import hmac, os

class Key:
    def __init__(self, app):
        self.app, self.wanted = app, os.environ["VLLM_API_KEY"].encode()

    def lets_in(self, scope):
        if scope["type"] not in ("http", "websocket") or scope["path"] == "/health" or scope.get("method") == "OPTIONS":
            return True
        said = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
        scheme, _, key = said.partition(b" ")
        return scheme.lower() == b"bearer" and hmac.compare_digest(key, self.wanted)

    async def __call__(self, scope, receive, send):
        if self.lets_in(scope):
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            kind = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": kind})
            await send({"type": "http.response.body", "body": b'{"error": "Unauthorized"}'})
'''
