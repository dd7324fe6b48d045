"""The engines behind the gateway: replicas, remote endpoints, keys, health."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from gateway_client import Client, free_port, fronted, run, until
from recording_engine import Answer, fine, recording
from simulated_engine import SimulatedEngine, engines

from serving.config import GatewayConfig, Upstream, read_upstreams
from serving.server import opened
from tools.errors import BadValue


def test_replicas_share_the_work_and_stand_in_for_each_other() -> None:
    async def test() -> None:
        one, two = SimulatedEngine("a"), SimulatedEngine("a")
        async with fronted(one, two) as client:
            await asyncio.gather(*(client.post({"model": "a", "gap": 0.1}) for _ in range(10)))
            assert (len(one.got), len(two.got)) == (5, 5)
            await one.stop()
            answers = await asyncio.gather(*(client.post({"model": "a"}) for _ in range(10)))
            assert [status for status, _, _ in answers] == [200] * 10
            two.status = 503
            await one.restart()
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_a_stream_that_has_begun_is_never_asked_for_again() -> None:
    async def test() -> None:
        one, two = SimulatedEngine("a"), SimulatedEngine("a")
        async with fronted(one, two) as client:
            with pytest.raises(aiohttp.ClientPayloadError):
                await client.post({"model": "a", "stream": True, "n": 5, "cut": 1, "id": 1})
            assert len(one.got) + len(two.got) == 1

    run(test)


def test_what_an_engine_that_dies_had_not_begun_to_answer_goes_to_another_once() -> None:
    """Its only engine is never asked a second time: a request that ends engines would end it again and again."""

    async def dying(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST" and request.transport is not None:
            request.transport.close()
        return await fine(request)

    async def test() -> None:
        async with recording(dying) as one, recording() as two:
            both = (Upstream("m", one.url), Upstream("m", two.url), Upstream("alone", one.url))
            async with fronted(upstreams=both, check_s=60) as client:
                assert (await client.post({"model": "m"}))[0] == 200
                assert (len(one.got), len(two.got)) == (1, 1)
                status, answer, _ = await client.post({"model": "alone"})
                assert (status, answer["error"]["code"]) == (503, "engine_unreachable")
                assert (len(one.got), len(two.got)) == (2, 1)

    run(test)


def test_an_endpoint_without_health_is_asked_for_its_models() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a", has_health=False)
        async with fronted(engine) as client:
            await asyncio.sleep(0.25)
            assert (await client.get("/v1/models"))[1]["data"][0]["state"] == "ready"

    run(test)


def test_an_engine_sees_its_own_key_and_nothing_of_the_callers() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        await engine.start()
        upstreams = (Upstream("a", engine.url, "ENGINE_KEY"),)
        await engine.stop()
        engine.card.take("a")
        async with fronted(engine, upstreams=upstreams, secrets={"ENGINE_KEY": "secret"}, keys=("k",)) as client:
            sent = {
                "Authorization": "Bearer k",
                "Cookie": "session=1",
                "X-Forwarded-For": "1.2.3.4",
                "Connection": "x-evil",
                "X-Evil": "1",
                "X-Request-Id": "r7",
                "traceparent": "00-1-1-00",
            }
            status, _, response = await client.post({"model": "a"}, headers=sent)
            assert status == 200
            assert "Set-Cookie" not in response.headers
            assert response.headers["X-Request-Id"] == "r1"
        seen = engine.got[0][2]
        assert seen["Authorization"] == "Bearer secret"
        assert (seen["X-Request-Id"], seen["traceparent"]) == ("r7", "00-1-1-00")
        assert not {"Cookie", "X-Forwarded-For", "X-Evil", "User-Agent"} & set(seen)

    run(test)


def test_no_engine_is_a_503_that_says_when_to_return() -> None:
    async def test() -> None:
        engine = SimulatedEngine("a")
        async with fronted(engine) as client:
            await engine.stop()
            status, answer, response = await client.post({"model": "a"})
            assert (status, answer["error"]["code"]) == (503, "engine_unreachable")
            assert int(response.headers["Retry-After"]) >= 1
            await asyncio.sleep(0.3)
            assert (await client.get("/health"))[0] == 503
            await engine.restart()
            assert (await client.post({"model": "a"}))[0] == 200

    run(test)


def test_a_redirect_is_not_followed() -> None:
    async def test() -> None:
        async with recording() as other:

            async def elsewhere(request: web.BaseRequest) -> web.StreamResponse:
                return web.Response(status=307, headers={"Location": other.url + request.path})

            async with recording(elsewhere) as engine, fronted(upstreams=(Upstream("a", engine.url),)) as client:
                status, _, answer = await client.post({"model": "a"}, allow_redirects=False)
                assert status == 307
                assert "Location" not in answer.headers  # an address behind the gateway is nobody's business
            assert len(engine.got) == 1
            assert (other.got, other.looks) == ([], [])

    run(test)


def test_engines_own_errors_pass_through() -> None:
    async def test() -> None:
        async with fronted(SimulatedEngine("a")) as client:
            for code in (400, 404, 422, 429, 500, 503):
                assert (await client.post({"model": "a", "status": code}))[0] == code

    run(test)


def test_a_name_that_its_engine_does_not_know_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    async def test() -> None:
        engine = SimulatedEngine("real/name")
        async with engines(engine):
            config = GatewayConfig(
                (Upstream("mine", engine.url), Upstream("real/name", engine.url)), port=0, check_s=0.05
            )
            async with opened(config, {}):
                await asyncio.sleep(0.3)

    run(test)
    said = capsys.readouterr().out
    assert said.count("“mine”") == 1
    assert "it serves: real/name" in said


def limited(times: int) -> tuple[Answer, list[int]]:
    """Refuse so many requests as having too many, then answer."""
    seen = list[int]()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.method == "POST":
            seen.append(429 if len(seen) < times else 200)
            return web.json_response({"error": {}}, status=seen[-1], headers={"Retry-After": "7"})
        return await fine(request)

    return answer, seen


def test_a_replica_with_too_many_requests_is_passed_over() -> None:
    async def test() -> None:
        (first, seen), (second, others) = limited(1), limited(9)
        async with recording(first) as one, recording(second) as two:
            upstreams = (Upstream("m", two.url), Upstream("m", one.url))
            async with fronted(upstreams=upstreams) as client:
                # where all have too many, the last one's answer stands
                status, _, answer = await client.post({"model": "m"})
                assert (status, answer.headers["Retry-After"]) == (429, "7")
                assert (seen, others) == ([429], [429])
                assert (await client.post({"model": "m"}))[0] == 200
                assert (seen, others) == ([429, 200], [429, 429])

    run(test)


def test_the_least_busy_replica_is_asked() -> None:
    async def test() -> None:
        one, two, three = (SimulatedEngine("a") for _ in range(3))
        async with fronted(one, two, three) as client:
            slow = [asyncio.create_task(client.post({"model": "a", "gap": 0.6})) for _ in range(4)]
            await until(lambda: one.active + two.active + three.active == 4)
            before = [len(engine.got) for engine in (one, two, three)]
            assert sorted(before) == [1, 1, 2]
            busy = before.index(2)
            for _ in range(4):
                await client.post({"model": "a"})
            after = [len(engine.got) for engine in (one, two, three)]
            assert after[busy] == 2
            assert sum(after) == 8
            await asyncio.gather(*slow)

    run(test)


def test_replicas_are_listed_one_by_one() -> None:
    async def test() -> None:
        one, two = SimulatedEngine("a"), SimulatedEngine("a")
        async with fronted(one, two) as client:
            await two.stop()
            async with asyncio.timeout(5):
                while (row := (await client.get("/v1/models/a"))[1])["replicas"] != ["ready", "down"]:
                    await asyncio.sleep(0.02)
            assert row["state"] == "ready"

    run(test)


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_remote_endpoint_is_looked_at_with_its_key_under_its_own_path(status: int) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/openai/health":
            return web.Response(status=status, headers={"Location": "/elsewhere"})
        good = request.headers.get("Authorization") == "Bearer secret" and request.path.startswith("/openai/v1/")
        return await fine(request) if good else web.Response(status=401)

    async def test() -> None:
        async with recording(answer) as engine:
            (upstream,) = read_upstreams([f"m={engine.url}/openai/v1/"], keys=["KEY"])
            async with fronted(upstreams=(upstream,), secrets={"KEY": "secret\n"}) as client:
                async with asyncio.timeout(5):
                    while (await client.states())["m"] != "ready":
                        await asyncio.sleep(0.02)
                assert (await client.post({"model": "m"}))[0] == 200
            assert engine.got[0].line == "POST /openai/v1/chat/completions"
            assert {look.line for look in engine.looks} == {"GET /openai/health", "GET /openai/v1/models"}

    run(test)


def test_a_key_that_no_header_can_carry_is_refused_before_anything_starts() -> None:
    async def test() -> None:
        upstreams = (Upstream("m", "http://127.0.0.1:9", "KEY"),)
        with pytest.raises(BadValue, match="KEY"):
            async with fronted(upstreams=upstreams, secrets={"KEY": "a\r\nX: y"}):
                pass

    run(test)


def certificate(folder: Path, host: str) -> ssl.SSLContext:
    """Make a certificate that signs itself, for a host, as ``folder/cert.pem``."""
    words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=test"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem"), "-addext", f"subjectAltName={host}"]
    subprocess.run(["openssl", *words, *files], check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificates")
@pytest.mark.parametrize(
    ("host", "trusted", "state", "status"),
    [
        ("IP:127.0.0.1", True, "ready", 200),
        ("IP:127.0.0.1", False, "down", 503),
        ("DNS:other.example", True, "down", 503),
    ],
    ids=["good", "unknown", "another-host"],
)
def test_only_certificates_that_are_trusted_and_the_hosts_own_are_good(
    tmp_path: Path, host: str, trusted: bool, state: str, status: int
) -> None:
    async def test() -> None:
        tls = certificate(tmp_path, host)
        more = {"SSL_CERT_FILE": str(tmp_path / "cert.pem")} if trusted else {}
        async with recording(tls=tls) as engine, started(f"m={engine.url}", more) as client:
            async with asyncio.timeout(10):
                while (await client.states())["m"] != state:
                    await asyncio.sleep(0.05)
            assert (await client.post({"model": "m", "x": "y" * 200_000}))[0] == status
            assert len(engine.got) == (status == 200)

    run(test)


@asynccontextmanager
async def started(upstream: str, more: dict[str, str]) -> AsyncIterator[Client]:
    """Run ``rigfit gateway`` in a process of its own, which reads the machine's trusted certificates as it starts."""
    command = [
        str(Path(sys.executable).parent / "rigfit"),
        "gateway",
        "--upstream",
        upstream,
        "--port",
        str(free_port()),
    ]
    environment = {**os.environ, **more}
    process = await asyncio.create_subprocess_exec(
        *command, "--json", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, env=environment
    )
    try:
        assert process.stdout is not None
        url = json.loads(await process.stdout.readline())["url"]
        async with aiohttp.ClientSession() as session:
            yield Client(url, session)
    finally:
        process.terminate()
        await process.wait()
