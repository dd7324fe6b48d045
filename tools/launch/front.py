"""One address in front of several engines: nginx, with its own JavaScript (njs) reading the model's name.

OpenAI's clients know one base URL and tell models apart by the field ``model`` of the request's body. nginx by itself
routes by path alone; its module njs, which the official images carry, reads the body. Written for njs 0.7.9 (Debian 12)
to 1.0 (``nginx:1.30-alpine``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

BODY_LIMIT = "64m"
"""Largest request: several pictures in base64. It is held in memory, for njs reads no body from a file."""

BY_MODEL = (
    "chat/completions",
    "completions",
    "responses",
    "embeddings",
    "messages",
    "messages/count_tokens",
    "rerank",
    "score",
)
"""Routes below ``/v1/`` whose body is JSON with a ``model`` (vLLM 0.32, ``entrypoints/**/api_router.py``)."""

BY_NAME = ("models", *BY_MODEL, "audio/transcriptions", "audio/translations")
"""Routes below ``/NAME/v1/``; nothing else of an engine can be reached."""

_MODULE = "/usr/lib/nginx/modules/ngx_http_js_module.so"
"""In the official images and in Debian alike."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An engine behind the front.

    Attributes:
        name: a DNS label, which is its path: ``/NAME/v1/...``.
        url: its address, as ``http://HOST:PORT``.
        models: the names it serves.
    """

    name: str
    url: str
    models: tuple[str, ...]


def nginx_conf(
    upstreams: Sequence[Upstream],
    *,
    script: str,
    listen: str = "80",
    resolver: str | None = "127.0.0.11",
    groups: Mapping[str, str] | None = None,
) -> str:
    """Return a whole ``nginx.conf``.

    Args:
        upstreams: the engines; names and addresses are written as they are, so they must be checked words.
        script: path of the file with ``router_js``.
        listen: nginx's own address.
        resolver: name server for the engines' addresses, asked anew every 10 s; 127.0.0.11 is Docker's own.
            None where the addresses are numbers, or names of groups.
        groups: addresses by the names that stand for them in ``http://NAME``; they are looked up once, at the start.
    """
    server = [
        f"listen {listen};",
        *([f"resolver {resolver} valid=10s;"] if resolver else []),
        *_SERVER,
        *(line for upstream in upstreams for line in _locations(upstream)),
        "location / { return 404; }",
        *(f"location {where} {{ return {_fault(*said)}; }}" for where, said in _FAULTS.items()),
    ]
    lines = [
        f"load_module {_MODULE};",
        "worker_processes auto;",
        "pid /tmp/nginx.pid;",
        "error_log /dev/stderr warn;",
        "events { worker_connections 1024; }",
        "http {",
        "    access_log /dev/stdout;",
        f"    js_import front from {script};",
        *(f"    upstream {name} {{ server {address}; }}" for name, address in (groups or {}).items()),
        "    server {",
        *(f"        {line}" for line in server),
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


_SERVER = (
    f"client_max_body_size {BODY_LIMIT};",
    f"client_body_buffer_size {BODY_LIMIT};",
    "subrequest_output_buffer_size 1m;",
    "proxy_http_version 1.1;",
    'proxy_set_header Connection "";',
    "proxy_buffering off;",
    "proxy_connect_timeout 5s;",
    "proxy_read_timeout 3600s;",
    "proxy_send_timeout 600s;",
    "default_type application/json;",
    "error_page 404 @unknown;",
    "error_page 413 @large;",
    "error_page 502 504 @down;",
    "location = /health { access_log off; default_type text/plain; return 200 ok; }",
    "location = /v1/models { js_content front.models; }",
    f"location ~ ^/v1/(?:{'|'.join(BY_MODEL)})$ {{ js_content front.route; }}",
)


def _locations(upstream: Upstream) -> tuple[str, ...]:
    """Where the script sends requests of a model, where it asks for the list of models, and the engine's own path."""
    name, engine = upstream.name, f"set $engine {upstream.url};"
    path = f"^/{name}/v1/(?:{'|'.join(BY_NAME)})$"
    return (
        f"location @{name} {{ {engine} {_SEND} }}",
        f"location = /-/{name} {{ internal; {engine} proxy_pass $engine/v1/models; }}",
        f"location ~ {path} {{ {engine} rewrite ^/{name}(/.*)$ $1 break; {_SEND} }}",
    )


_SEND = "proxy_pass $engine$uri$is_args$args;"
"""The path goes on as it was compared with the list, not as the client wrote it."""

_FAULTS = {
    "@large": (413, "too_large", f"The request is larger than {BODY_LIMIT}."),
    "@down": (502, "engine_down", "The engine does not answer."),
    "@unknown": (404, "unknown_path", "There is no such path here."),
}


def _fault(status: int, code: str, message: str) -> str:
    """Words of nginx's ``return``: an error in the form of OpenAI's."""
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
    return f"{status} '{json.dumps({'error': error})}'"


def router_js(upstreams: Sequence[Upstream]) -> str:
    """Return the script that finds the engine of a request; names are written as JSON in ASCII."""
    models = [[model, "@" + upstream.name] for upstream in upstreams for model in upstream.models]
    lists = ["/-/" + upstream.name for upstream in upstreams]
    return f"const MODELS = {json.dumps(models)};\nconst LISTS = {json.dumps(lists)};\n{_ROUTER}"


_ROUTER = """
function answer(r, status, body) {
    r.headersOut["Content-Type"] = "application/json";
    r.return(status, body);
}

function fault(r, status, code, message) {
    const error = {message: message, type: "invalid_request_error", param: "model", code: code};
    answer(r, status, JSON.stringify({error: error}));
}

function route(r) {
    let model;
    if (r.method === "OPTIONS") {
        r.internalRedirect(MODELS[0][1]);
        return;
    }
    try {
        model = JSON.parse(r.requestText).model;
    } catch (error) {
        fault(r, 400, "bad_json", "The body must be a JSON object with the field 'model'.");
        return;
    }
    const found = MODELS.find((row) => row[0] === model);
    if (found === undefined) {
        fault(r, 404, "model_not_found", "The model '" + model + "' does not exist; GET /v1/models lists all.");
        return;
    }
    r.internalRedirect(found[1]);
}

async function models(r) {
    const lists = await Promise.all(LISTS.map((path) => r.subrequest(path, {method: "GET"})));
    const refused = lists.find((list) => list.status === 401 || list.status === 403);
    if (refused !== undefined) {
        answer(r, refused.status, refused.responseText);
        return;
    }
    let data = [];
    lists.forEach((list) => {
        if (list.status === 200) {
            data = data.concat(JSON.parse(list.responseText).data);
        }
    });
    answer(r, 200, JSON.stringify({object: "list", data: data}));
}

export default {route, models};
"""
