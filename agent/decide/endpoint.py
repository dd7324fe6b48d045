"""An OpenAI-compatible endpoint as the assistant asks it: which model, how long to wait, and what went wrong."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.tools import BaseTool

from agent.decide.asking import Asking, Form, Said, next_form, refused_context
from agent.decide.prompt import size
from tools.errors import ModelUnavailable
from tools.settings import LOCAL, Settings

if TYPE_CHECKING:
    from openai import APIStatusError

CONNECT_S = 5.0
SILENCE_S = 60.0
"""Longest time between two pieces of an answer; a long prompt is read before the first."""
ANSWER_S = 240.0
"""Longest whole answer: some models think for minutes, and the rules take a second."""
READY_S = 60.0
"""How long a model that wakes or starts is waited for."""
_SOONEST_S, _LATEST_S = 0.2, 10.0
"""Bounds of the time after which an endpoint that is not ready is asked again, whatever it says itself."""
CONTEXT_TOKENS = 32768
"""Context of a model whose server has not said it; a longer prompt is refused with the true number."""
ANSWER_TOKENS = 1024
"""Least part of the context that is kept for the answer; it may be longer where there is room."""
_NAMES_BYTES = 1 << 20
_NAMES_SHOWN = 5
_NAME_CHARS = 200


Prompt = Callable[[int], list[AnyMessage]]
"""Writes a conversation in at most so many tokens."""


@dataclass(frozen=True, slots=True)
class _Request:
    """What one message is asked for with, as of ``Endpoint.ask``."""

    prompt: Prompt
    waiting: Callable[[], None]
    said: Said
    tools: bool


class Endpoint:
    """One model behind one address.

    Args:
        settings: ``llm_url``, ``llm_model``, ``llm_max_tokens`` and the name of the variable that holds the key.
        tools: what the model may call.

    Attributes:
        model: its name; None until the endpoint, which has one alone, has told it.
        context: tokens it holds, as far as the endpoint has told.
        form: how it is offered tools; the best one that it did not refuse.
    """

    def __init__(self, settings: Settings, tools: Sequence[BaseTool]) -> None:
        self._settings, self._tools = settings, list(tools)
        self.model = settings.llm_model
        self.context, self.form = CONTEXT_TOKENS, Form.STRICT
        self._asking: Asking | None = None

    async def ask(
        self, prompt: Prompt, *, waiting: Callable[[], None], said: Said = None, tools: bool = True
    ) -> AIMessage:
        """Ask for the next message.

        Args:
            prompt: writes the conversation in at most so many tokens.
            waiting: called once where the model is not ready yet and is waited for.
            said: hears the message's text as it is written.
            tools: whether it may call tools.

        Raises:
            ModelUnavailable: its context is too small, it can't be reached, refused, is not ready in time, broke off,
                or answered something that is no chat completion.
        """
        import httpx
        from openai import APIConnectionError, APIStatusError, OpenAIError

        try:
            async with asyncio.timeout(READY_S + ANSWER_S):
                answer = await self._in_a_form_it_takes(_Request(prompt, waiting, said, tools))
        except APIStatusError as error:
            if _pause_s(error) is not None:
                raise self._wrong("not_ready", seconds=round(READY_S)) from error
            raise self._refused(error.status_code) from error
        except (TimeoutError, httpx.TimeoutException) as error:
            raise self._wrong("silent") from error
        except (APIConnectionError, httpx.ConnectError) as error:
            late = isinstance(error.__cause__, httpx.TimeoutException)
            raise self._wrong("silent" if late else "unreachable") from error
        except (OpenAIError, httpx.HTTPError, OSError) as error:
            raise self._wrong("broke_off") from error
        except (ValueError, TypeError, KeyError, IndexError, AttributeError) as error:
            raise self._wrong("unreadable") from error
        if not answer.response_metadata.get("finish_reason"):
            raise self._wrong("broke_off")
        return answer

    async def _in_a_form_it_takes(self, request: _Request) -> AIMessage:
        """Ask, again where the endpoint refused the length or the form of the question: both are remembered."""
        from openai import APIStatusError

        while True:
            asking = await self._bound()
            free = self.context - asking.tools_tokens(self.form)
            kept = min(ANSWER_TOKENS, self.context // 4)
            messages = request.prompt(free - kept)
            limit = min(self._settings.llm_max_tokens, max(kept, free - size(messages)))
            try:
                return await self._patiently(messages, limit, request)
            except APIStatusError as error:
                if asking.limits_otherwise(error):
                    continue
                context = refused_context(error, self.context)
                form = next_form(error, self.form) if request.tools else None
                if context is not None:
                    self.context = context
                elif form is not None:
                    self.form = form
                else:
                    raise

    async def _patiently(self, prompt: Sequence[AnyMessage], limit: int, request: _Request) -> AIMessage:
        """Ask, again where the endpoint says that it is worth it: 503 with ``Retry-After``."""
        from openai import APIStatusError

        ends: float | None = None
        while True:
            try:
                form = self.form if request.tools else None
                return await (await self._bound()).ask(list(prompt), form, limit, request.said)
            except APIStatusError as error:
                pause = _pause_s(error)
                if pause is None:
                    raise
                if ends is None:
                    ends = time.monotonic() + READY_S
                    request.waiting()
                if time.monotonic() + pause > ends:
                    raise
                await asyncio.sleep(pause)

    async def _bound(self) -> Asking:
        if self._asking is None:
            import httpx
            from langchain_openai import ChatOpenAI
            from pydantic import SecretStr

            url, key = await self._reached()
            chat = ChatOpenAI(
                model=self.model or "default",
                base_url=url,
                api_key=SecretStr(key or "none"),
                temperature=0,
                streaming=True,
                stream_usage=self._settings.otlp_url is not None,
                timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S),
                max_retries=0,
            )
            self._asking = Asking(chat, self._tools)
        return self._asking

    async def _reached(self) -> tuple[str | None, str | None]:
        """Return the endpoint's address and key, once the model there is known."""
        if self.model is None:
            self.model = await self._only_model()
        return self._settings.llm_url, self._settings.llm_key()

    async def _only_model(self) -> str:
        """Return the name of the one model that the endpoint has.

        Raises:
            ModelUnavailable: it has several, or none.
        """
        import json

        import httpx

        key = self._settings.llm_key()
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"{(self._settings.llm_url or '').rstrip('/')}/models"
        async with (
            httpx.AsyncClient(timeout=httpx.Timeout(SILENCE_S, connect=CONNECT_S)) as client,
            client.stream("GET", url, headers=headers) as answer,
        ):
            if answer.status_code != 200:
                raise self._refused(answer.status_code)
            body = b""
            async for piece in answer.aiter_bytes():
                body += piece
                if len(body) > _NAMES_BYTES:
                    raise ValueError("too many models")
        told = json.loads(body)
        names = model_names(told)
        if len(names) != 1:
            raise self._wrong("which" if names else "no_model", models=", ".join(names[:_NAMES_SHOWN]))
        lengths = [row.get("max_model_len") for row in told["data"]]
        self.context = min([n for n in lengths if type(n) is int and n > 0], default=self.context)
        return names[0]

    def _refused(self, status: int) -> ModelUnavailable:
        if status in {401, 403}:
            return self._wrong("key", variable=self._settings.llm_key_env)
        return self._wrong("refused", status=status)

    def _wrong(self, what: str, **params: object) -> ModelUnavailable:
        return ModelUnavailable(f"errors_agent.llm_{what}", url=address(self._settings.llm_url), **params)


def model_names(answer: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the models of an answer of ``/v1/models``, one name each: what has the same ``root`` is one model.

    vLLM's ``root`` is what it loads, Rigfit's gateway's what an alias means; elsewhere there is none.

    >>> model_names({"data": [{"id": "small", "root": "Qwen3-8B"}, {"id": "Qwen3-8B", "root": "Qwen3-8B"}]})
    ('Qwen3-8B',)
    """
    found: dict[str, str] = {}
    for row in answer["data"]:
        name, root = str(row["id"])[:_NAME_CHARS], str(row.get("root") or row["id"])[:_NAME_CHARS]
        if root not in found or name == root:
            found[root] = name
    return tuple(found.values())


def address(url: str | None) -> str:
    """Return an endpoint's address without credentials."""
    if url and url.startswith(LOCAL):
        return url
    parts = urlsplit(url or "")
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _pause_s(error: APIStatusError) -> float | None:
    """Return after how many seconds an endpoint that is not ready wants to be asked again; None where it does not."""
    said = error.response.headers.get("retry-after") if error.status_code == 503 else None
    try:
        return None if said is None else min(max(float(said), _SOONEST_S), _LATEST_S)
    except ValueError:
        return _LATEST_S
