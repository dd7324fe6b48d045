"""What the page does: every answer to a click or a message, as updates of its components."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, cast
from uuid import uuid4

import gradio as gr

from agent.decide import ModelAt
from agent.events import AnswerText, FilesReady, History, Notice, PlanReady
from prompts import text
from tools.domain import Plan, Rig
from tools.errors import RigfitError
from tools.launch.choices import DEFAULT, Choices
from tools.launch.generate import TARGETS, default_target
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from ui.assistants import AssistantKeeper
from ui.downloads import offered_files
from ui.example import example_plan
from ui.files import FilesView, toggled
from ui.markup import Markup, tag
from ui.output import log_failure, sentence
from ui.panel import empty_panel, plan_panel
from ui.rig_panel import RigFields, fields_of_rig, rig_label, rig_of_fields
from ui.turns import Message, Turn, answer_message, last_plan, past_messages
from ui.writers import CONFIGURED, writers

_THREAD = re.compile(r"[A-Za-z0-9-]{8,64}")
_SHOWN_CHARS = 2000
"""A longer message is cut in the chat; the assistant gets it whole."""
_REDRAW_S = 0.05


@dataclass(frozen=True, slots=True)
class Shown:
    """What one open page shows.

    Attributes:
        thread: the conversation's id, kept by the browser.
        language: of the page's own words.
        plan_language: of the plan panel: that of the question it answers.
        plan: the plan in the panel, None for the example.
        option: which option of it, None for the recommended one.
        target: for which kind of launch files are shown (empty = that of the plan's engine).
        choices: how the files are made.
        filled: what the conversation wrote into the hardware fields; other contents were set by hand.
    """

    thread: str = ""
    language: str = "en"
    plan_language: str = "en"
    plan: Plan | None = None
    option: str | None = None
    target: str = ""
    choices: Choices = DEFAULT
    filled: RigFields | None = None


class Conversation:
    """The page's behaviour, without its layout.

    Args:
        keeper: hands out the assistant.
        settings: where files and the log are written.
        gpus: where the cards of the hardware fields are looked up.
    """

    def __init__(self, keeper: AssistantKeeper, settings: Settings, gpus: GpuCatalogue) -> None:
        self._keeper, self._settings, self._gpus = keeper, settings, gpus

    # --- opening ---

    async def opened(self, memory: str, accepted: str) -> tuple[Shown, list[Any]]:
        """Show the remembered conversation, or the example; returns updates of chat, panel, state, rig and fields."""
        thread, language = _remembered(memory, accepted)
        shown = Shown(thread, language, language)
        history = await self._history(thread)
        plan = last_plan(history.turns)
        messages = past_messages(history.turns)
        if messages:
            spoken = history.turns[-1].language
            shown = replace(shown, plan=plan, plan_language=spoken)
        rig = plan.request.rig if plan else history.rig
        fields = fields_of_rig(rig) if rig else RigFields()
        shown = replace(shown, filled=fields)
        panel = await self._panel(shown, example=not messages)
        return shown, [messages, panel, shown, self._rig_update(rig, language), *_field_values(fields)]

    async def _history(self, thread: str) -> History:
        try:
            return await (await self._keeper.get()).history(thread)
        except Exception as error:  # noqa: BLE001 - the page opens without the conversation rather than not at all
            log_failure(error, self._settings)
            return History(thread)

    async def translated(self, memory: str, shown: Shown) -> tuple[Shown, list[Any]]:
        """Change the page's language; returns updates of panel, state and rig."""
        _, language = _remembered(memory, shown.language)
        changed = replace(shown, language=language, plan_language=language)
        panel = await self._panel(changed, example=changed.plan is None)
        rig = changed.plan.request.rig if changed.plan else None
        return changed, [panel, changed, self._rig_update(rig, language)]

    # --- talking ---

    async def send(
        self,
        words: str,
        chat: list[Message] | None,
        shown: Shown,
        card: Any,
        count: Any,
        reserved: Any,
        ram: Any,
        writer: Any = CONFIGURED,
    ) -> AsyncIterator[list[Any]]:
        """Answer a message, streaming; yields updates of box, chat, panel, state, rig and fields."""
        if not shown.thread:
            shown = replace(shown, thread=uuid4().hex)
        before = [{key: value for key, value in message.items() if key != "options"} for message in chat or []]
        shown = replace(shown, plan_language=_spoken(words, shown.language))
        turn = Turn(words if len(words) <= _SHOWN_CHARS else words[:_SHOWN_CHARS] + " …", shown.plan_language)
        rest: list[Any] = [gr.skip(), shown, *[gr.skip()] * 5]
        yield [gr.Textbox(value="", submit_btn=False, stop_btn=True), before + turn.shown(), *rest]
        try:
            fields = _fields(card, count, reserved, ram)
            rig = None if fields == shown.filled else rig_of_fields(fields, self._gpus)
            model = await asyncio.to_thread(self._model, turn, str(writer or CONFIGURED), shown.plan_language)
            async for rest in self._events(turn, words, shown, rig, model):
                yield [gr.skip(), before + turn.shown(), *rest]
        except RigfitError as error:
            turn.fail(sentence(shown.plan_language, error))
        except Exception as error:  # noqa: BLE001 - the edge: one sentence, and the page stays usable
            log = log_failure(error, self._settings)
            turn.fail(text(shown.plan_language, "errors_ui.turn_failed", log=log))
        yield [gr.Textbox(submit_btn=True, stop_btn=False), before + turn.shown(), *[gr.skip()] * 7]

    def _model(self, turn: Turn, key: str, language: str) -> ModelAt | None:
        """Return who was chosen to answer; the rules, and a line that says so, where that one is gone."""
        chosen = next((one for one in writers(self._settings) if one.key == key), None)
        if chosen is None:
            turn.apply(Notice(text(language, "errors_agent.llm_gone", model=key.rpartition(" ")[2])))
            return ModelAt("")
        return chosen.model

    def writers_now(self, chosen: Any, known: tuple[str, ...], shown: Shown) -> list[Any]:
        """Offer who can answer now; returns updates of the choice and of what is known, none where nothing changed."""
        found = writers(self._settings)
        names = [(one.name(shown.language), one.key) for one in found]
        told = (shown.language, *(word for pair in names for word in pair))
        if told == known:
            return [gr.skip(), gr.skip()]
        keys = [one.key for one in found]
        value = chosen if chosen in keys else CONFIGURED
        label = text(shown.language, "ui.writer_label")
        return [gr.Radio(choices=names, value=value, label=label, visible=len(found) > 1), told]

    async def _events(
        self, turn: Turn, words: str, shown: Shown, rig: Rig | None, model: ModelAt | None
    ) -> AsyncIterator[list[Any]]:
        """Run the turn; yields updates of panel, state, rig and fields whenever there is something to draw."""
        assistant = await self._keeper.get()
        hint = cast(Literal["en", "ru"], shown.plan_language)
        drawn = 0.0
        async for event in assistant.ask(words, thread_id=shown.thread, language_hint=hint, rig=rig, model=model):
            turn.apply(event)
            rest = [gr.skip()] * 7
            if isinstance(event, PlanReady):
                rest = await self._planned(event.plan, shown)
                shown = rest[1]
            elif isinstance(event, FilesReady) and shown.plan:
                shown = replace(
                    shown, target=event.target, option=event.option if event.option in _ids(shown) else None
                )
                rest = [await self._panel(shown), shown, *[gr.skip()] * 5]
            elif isinstance(event, AnswerText) and time.monotonic() - drawn < _REDRAW_S:
                continue
            drawn = time.monotonic()
            yield rest

    async def _planned(self, plan: Plan, shown: Shown) -> list[Any]:
        """Show a new plan; hardware that the conversation named goes into the fields."""
        shown = replace(shown, plan=plan, option=None, target="")
        values: list[Any] = [gr.skip()] * 4
        rig = plan.request.rig
        if rig.source != "panel":
            shown = replace(shown, filled=fields_of_rig(rig))
            values = _field_values(fields_of_rig(rig))
        return [await self._panel(shown), shown, self._rig_update(rig, shown.language), *values]

    async def stopped(self, chat: list[Message] | None, shown: Shown) -> list[Any]:
        """End an answer that was stopped; returns updates of chat and box."""
        messages = [*(chat or []), answer_message(f"*{text(shown.language, 'ui.stopped')}*")]
        return [messages, gr.Textbox(submit_btn=True, stop_btn=False)]

    # --- the plan ---

    async def picked(self, shown: Shown, option: str) -> list[Any]:
        """Show another option; returns updates of panel and state."""
        plan = shown.plan or self._example
        if plan is None or option not in {"as_asked", *(one.id for one in plan.options)}:
            return [gr.skip(), gr.skip()]
        changed = replace(shown, option=option)
        return [await self._panel(changed, example=shown.plan is None), changed]

    async def target_picked(self, shown: Shown, target: str) -> list[Any]:
        """Show the files of another target; returns updates of panel and state."""
        if target not in TARGETS:
            return [gr.skip(), gr.skip()]
        changed = replace(shown, target=target)
        return [await self._panel(changed), changed]

    async def choice_toggled(self, shown: Shown, asked: str) -> list[Any]:
        """Take or give up a choice about the files; returns updates of panel and state."""
        changed = replace(shown, choices=toggled(shown.choices, asked))
        return [await self._panel(changed), changed]

    async def _panel(self, shown: Shown, *, example: bool = False) -> Markup:
        if shown.plan is None:
            if not example:
                return empty_panel(shown.language)
            return self.example_panel(shown.language, shown.option) or empty_panel(shown.language)
        files = await asyncio.to_thread(self._files, shown.plan, shown)
        return plan_panel(shown.plan, language=shown.plan_language, option=shown.option, files=files)

    def _files(self, plan: Plan, shown: Shown) -> FilesView:
        """Write the files of the shown option; a plan without them is still an answer, and says why."""
        folder = (self._settings.data_dir / "files").absolute()
        view = FilesView(shown.target or default_target(plan.request.engine), shown.choices)
        language = shown.plan_language
        try:
            offered = offered_files(plan, shown.option, view.target, view.choices, language=language, folder=folder)
        except RigfitError as error:
            return replace(view, problem=sentence(language, error))
        except Exception as error:  # noqa: BLE001 - the edge: one sentence beside the plan
            log = log_failure(error, self._settings)
            return replace(view, problem=text(language, "errors_ui.files_failed", reason=log))
        return replace(view, offered=offered)

    @cached_property
    def _example(self) -> Plan | None:
        try:
            return example_plan()
        except Exception as error:  # noqa: BLE001 - the page opens without an example rather than not at all
            log_failure(error, self._settings)
            return None

    def example_panel(self, language: str, option: str | None = None) -> Markup | None:
        """Show the example plan, without files; None where it can't be made."""
        if self._example is None:
            return None
        caption = text(language, "ui.example_caption")
        return plan_panel(self._example, language=language, option=option, caption=caption)

    # --- the hardware ---

    def _rig_update(self, rig: Rig | None, language: str) -> Any:
        label = rig_label(rig)
        return gr.Accordion(label=text(language, "ui.rig_set", rig=label) if label else text(language, "ui.rig_none"))

    def rig_edited(self, shown: Shown, card: Any, count: Any, reserved: Any, ram: Any) -> list[Any]:
        """Read the fields as they are typed; returns updates of the rig's title and status line."""
        try:
            rig = rig_of_fields(_fields(card, count, reserved, ram), self._gpus)
        except RigfitError as error:
            return [gr.skip(), tag("p", sentence(shown.language, error), class_="rf-error", role="alert")]
        return [self._rig_update(rig, shown.language), ""]

    def rig_named(self, shown: Shown, card: Any, count: Any, reserved: Any, ram: Any) -> Any:
        """Return the rig's title for the fields as they are."""
        return self.rig_edited(shown, card, count, reserved, ram)[0]

    def rig_typed(self, shown: Shown, card: Any, count: Any, reserved: Any, ram: Any) -> tuple[Rig | None, Markup]:
        """Return the hardware of the fields; None, and why, where there is none that can be read."""
        try:
            rig = rig_of_fields(_fields(card, count, reserved, ram), self._gpus)
        except RigfitError as error:
            return None, tag("p", sentence(shown.language, error), class_="rf-error", role="alert")
        return rig, tag("p", text(shown.language, "recall.no_card"), class_="rf-error", role="alert")

    def rig_taken(self, shown: Shown, rig: Rig | None) -> list[Any]:
        """Fill the fields with remembered hardware; returns updates of the fields, the rig's title and status line."""
        if rig is None:
            return [gr.skip()] * 6
        return [*_field_values(fields_of_rig(rig)), self._rig_update(rig, shown.language), ""]

    async def rig_detected(self, shown: Shown) -> list[Any]:
        """Fill the fields with this machine's hardware; returns updates of the fields and the status line."""
        from tools.specs.detect import detect_rig

        try:
            rig = await asyncio.to_thread(detect_rig)
        except Exception as error:  # noqa: BLE001 - a machine that can't be read is a machine without cards here
            log_failure(error, self._settings)
            rig = Rig(gpus=())
        if not rig.gpus:
            note = tag("p", text(shown.language, "ui.rig_none_found"), role="status")
            return [gr.skip()] * 4 + [note]
        note = tag("p", text(shown.language, "ui.rig_detected", rig=rig_label(rig)), role="status")
        return [*_field_values(fields_of_rig(rig)), note]

    def rig_cleared(self, shown: Shown) -> list[Any]:
        """Empty the fields; returns updates of the fields, the rig's title and the status line."""
        return [*_field_values(RigFields()), self._rig_update(None, shown.language), ""]


def _ids(shown: Shown) -> set[str]:
    """Options of the shown plan."""
    return {"as_asked", *(one.id for one in shown.plan.options)} if shown.plan else set()


def _fields(card: Any, count: Any, reserved: Any, ram: Any) -> RigFields:
    return RigFields(str(card or ""), str(count or "1"), str(reserved or ""), str(ram or ""))


def _field_values(fields: RigFields) -> list[Any]:
    return [fields.card or None, fields.count, fields.reserved, fields.ram]


def _remembered(memory: str, accepted: str) -> tuple[str, str]:
    """Read what the browser remembers: the conversation's id and the language, else what the browser accepts."""
    try:
        known = json.loads(memory or "{}")
    except ValueError:
        known = {}
    known = known if isinstance(known, dict) else {}
    thread = str(known.get("thread", ""))
    language = known.get("language")
    if language not in {"en", "ru"}:
        language = _preferred(accepted)
    return thread if _THREAD.fullmatch(thread) else uuid4().hex, language


def _preferred(accepted: str) -> str:
    """Return the first of the browser's languages that the page speaks."""
    for item in accepted.split(","):
        code = item.split(";")[0].strip().lower()[:2]
        if code in {"en", "ru"}:
            return code
    return "en"


def _spoken(words: str, fallback: str) -> str:
    """Guess the language of a message; one without letters is in the page's."""
    sample = words[:_SHOWN_CHARS]
    if re.search("[а-яё]", sample, re.IGNORECASE):
        return "ru"
    return "en" if len(re.findall("[A-Za-z]{2,}", sample)) > 2 else fallback
