"""A page is read within limits and from public addresses only, whatever names, redirects and servers do."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
from search_pages import site

from tools.search.addresses import Allowed
from tools.search.fetch import MAX_BYTES, Download, Limits, Refused, fetch
from tools.search.page import read_page
from tools.search.web import WebSearch
from tools.settings import Settings

Write = Callable[[socket.socket], None]
HERE = Allowed(["127.0.0.0/8"])


@contextmanager
def server(write: Write) -> Iterator[tuple[int, list[bytes]]]:
    """Answer each connection with raw bytes; yields the port and the requests that came in."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):
                connection.settimeout(5)
                heard.append(connection.recv(65536))
                write(connection)

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listening.getsockname()[1], heard
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()


def answer(body: bytes, *headers: str, status: str = "200 OK") -> Write:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers])
    return lambda connection: connection.sendall(head.encode() + b"\r\n\r\n" + body)


def get(port: int, limits: Limits | None = None, host: str = "127.0.0.1", timeout_s: float = 5.0) -> Download:
    return fetch(f"http://{host}:{port}/page", timeout_s, limits or Limits(HERE))


def test_a_page_comes_with_its_type_and_encoding() -> None:
    with server(answer("ключ".encode("cp1251"), "Content-Type: text/html; charset=cp1251")) as (port, heard):
        found = get(port)
    assert (found.status, found.kind, found.charset) == (200, "text/html", "cp1251")
    assert b"Cookie" not in heard[0]
    assert b"Authorization" not in heard[0]


def test_a_private_address_is_not_asked() -> None:
    with server(answer(b"secret", "Content-Type: text/html")) as (port, heard):
        for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"):
            with pytest.raises(OSError):
                get(port, Limits(Allowed()), host)
    assert heard == []


def test_a_name_is_connected_to_where_it_was_checked() -> None:
    """DNS rebinding: the second answer of the name would be another address; it is never asked for."""
    answers = iter([["127.0.0.1"], ["127.0.0.2"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return next(answers)

    def only_first(address: str, port: int) -> bool:
        return address == "127.0.0.1"

    with server(answer(b"page", "Content-Type: text/html")) as (port, heard):
        found = get(port, Limits(only_first, rebinding), "rebinding.example")
    assert found.body == b"page"
    assert asked == ["rebinding.example"]
    assert f"Host: rebinding.example:{port}".encode() in heard[0]


def test_a_name_with_one_private_address_among_others_is_refused() -> None:
    def both(host: str, port: int) -> list[str]:
        return ["93.184.216.34", "10.0.0.1"]

    with pytest.raises(Refused):
        fetch("http://mixed.example/", 5.0, Limits(Allowed(), both))


@pytest.mark.parametrize(
    "target",
    ["http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "http://[::1]/", "gopher://x/",
     "http://user:password@h.example/", "//10.0.0.1/", "http://127.0.0.1:6379/"],
)  # fmt: skip
def test_each_redirect_is_checked(target: str) -> None:
    def first_alone(address: str, port: int) -> bool:
        return port == first

    moved = answer(b"", f"Location: {target}", status="302 Found")
    with server(moved) as (first, heard), pytest.raises(Refused):
        get(first, Limits(first_alone))
    assert len(heard) == 1


def test_redirects_are_followed_and_end() -> None:
    with ExitStack() as stack:
        last, _ = stack.enter_context(server(answer(b"page", "Content-Type: text/html")))
        moved = answer(b"", f"Location: http://127.0.0.1:{last}/b", status="301 Moved")
        first, _ = stack.enter_context(server(moved))
        assert get(first).url == f"http://127.0.0.1:{last}/b"
    with server(answer(b"", "Location: /again", status="302 Found")) as (port, heard):
        with pytest.raises(Refused):
            get(port)
        assert len(heard) == 4


@pytest.mark.parametrize("kind", ["application/octet-stream", "image/png", "application/pdf", "application/json"])
def test_other_kinds_are_not_read(kind: str) -> None:
    with server(answer(b"x", f"Content-Type: {kind}")) as (port, _), pytest.raises(Refused):
        get(port)


@pytest.mark.parametrize("status", ["404 Not Found", "403 Forbidden", "500 Error", "204 No Content"])
def test_other_answers_are_no_pages(status: str) -> None:
    with server(answer(b"", "Content-Type: text/html", status=status)) as (port, _), pytest.raises(Refused):
        get(port)


def test_a_long_page_is_cut_and_a_bomb_too() -> None:
    with server(answer(b"a" * (3 * MAX_BYTES), "Content-Type: text/html")) as (port, _):
        assert len(get(port).body) == MAX_BYTES
    bomb = gzip.compress(b"a" * (64 * MAX_BYTES))
    with server(answer(bomb, "Content-Type: text/html", "Content-Encoding: gzip")) as (port, _):
        assert len(get(port).body) == MAX_BYTES


def drip(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n")
    for _ in range(200):
        connection.sendall(b"X: y\r\n")
        time.sleep(0.05)


def test_a_server_that_drips_is_left_in_time() -> None:
    with server(drip) as (port, _), pytest.raises(TimeoutError):
        get(port, timeout_s=0.5)


def test_a_name_look_up_that_hangs_is_left_in_time() -> None:
    def hanging(host: str, port: int) -> list[str]:
        time.sleep(30)
        return []

    with pytest.raises(TimeoutError):
        fetch("http://slow.example/", 0.3, Limits(HERE, hanging))


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", b"HTTP/1.1 302 Found\r\n\r\n"]
)
def test_a_server_that_breaks_the_protocol_is_an_error_like_others(raw: bytes) -> None:
    with server(lambda connection: connection.sendall(raw)) as (port, _), pytest.raises(OSError):
        get(port, timeout_s=2.0)


def test_the_readable_part_of_a_page_with_its_date() -> None:
    text = "<p>Qwen3-8B has 8.2B parameters and a context length of 32,768 tokens, says its card.</p>" * 3
    html = (
        '<html><head><title>Qwen3-8B</title><meta property="article:published_time" content="2025-04-28T10:00:00Z">'
        f"</head><body><nav>Menu</nav><script>steal()</script><article><h1>Qwen3-8B</h1>{text}</article></body></html>"
    )
    page = read_page(Download("http://h.example/", 200, "text/html", "utf-8", html.encode()), "http://h.example/", 20.0)
    assert (page.title, page.date) == ("Qwen3-8B", "2025-04-28")
    assert "8.2B parameters" in page.text
    assert "steal" not in page.text


def test_plain_text_is_read_as_it_is() -> None:
    found = Download("http://h/", 200, "text/plain", "no-such-code", b"Parameters: 8.2B\x07\n\nx")
    assert read_page(found, "http://h/", 1.0).text == "Parameters: 8.2B\nx"


def test_a_page_that_takes_long_to_read_is_left_in_time() -> None:
    hostile = ("<p><b>" * 80_000).encode()
    began = time.monotonic()
    with suppress(OSError):
        read_page(Download("http://h/", 200, "text/html", None, hostile), "http://h/", 0.2)
    assert time.monotonic() - began < 10


def test_at_most_two_pages_are_read_and_each_once(tmp_path: Path) -> None:
    page = (
        "<html><body><article>" + "<p>Qwen3-8B has 8.2B parameters, says the card.</p>" * 4 + "</article></body></html>"
    )
    with site([(f"Qwen3-8B {n}", "") for n in range(5)], page) as (url, fetched):
        settings = Settings(data_dir=tmp_path, search_url=url, search_networks=("127.0.0.0/8",), search_timeout_s=60)
        search = WebSearch(settings)
        found = search.research("Qwen3-8B")
        search.research("Qwen3-8B")
    assert len(found.hits) == 5
    assert sorted(fetched) == ["/page0", "/page1"]
    assert [p.figures[0].values for p in found.pages] == [pytest.approx((8.2e9,))] * 2


def test_by_default_a_private_hit_is_cited_but_not_read(tmp_path: Path) -> None:
    with site([("Qwen3-8B", "")], "<p>secret</p>") as (url, fetched):
        found = WebSearch(Settings(data_dir=tmp_path, search_url=url)).research("Qwen3-8B")
    assert len(found.hits) == 1
    assert found.pages == ()
    assert fetched == []
