"""The chat page: conversation on the left, the plan on the right, the hardware above both."""

from __future__ import annotations

from collections.abc import Callable
from importlib import resources
from typing import Any

import gradio as gr
from gradio import themes

from prompts import text
from tools.settings import Settings
from tools.specs.gpus import GpuCatalogue
from ui.assistants import AssistantFactory, AssistantKeeper
from ui.conversation import Conversation, Shown
from ui.example import EXAMPLES
from ui.header import header
from ui.memory import MEMORY_JS, MemoryView
from ui.panel import empty_panel
from ui.rig_panel import COMMON_CARDS
from ui.transcripts import OPENED_JS, SAVE_JS, Transcripts
from ui.writers import CONFIGURED

Say = Callable[[str], str]

_LOOK_S = 3.0
"""Seconds between two looks at who can answer."""

_PAGE_JS_INPUT = "(...values) => [window.rigfit.memory(), ...values.slice(1)]"
"""Fills the first input of an event with what the browser remembers: the conversation's id and the language."""


def look() -> dict[str, Any]:
    """Return the arguments of ``launch`` that make the page look as it does, all of it served from this machine."""
    theme = themes.Base(
        primary_hue=themes.colors.blue,
        neutral_hue=themes.colors.slate,
        radius_size=themes.sizes.radius_md,
        spacing_size=themes.sizes.spacing_md,
        font=["system-ui", "-apple-system", "Segoe UI", "Roboto", "Noto Sans", "sans-serif"],
        font_mono=["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"],
    )
    icon = str(resources.files("ui") / "static" / "favicon.svg")
    return {
        "theme": theme,
        "favicon_path": icon,
        "head": f"<style>{_static('page.css')}</style><script>{_static('page.js')}</script>",
    }


def _static(name: str) -> str:
    return (resources.files("ui") / "static" / name).read_text(encoding="utf-8")


def build_app(assistant_factory: AssistantFactory | AssistantKeeper, settings: Settings) -> gr.Blocks:
    """Build the page.

    Args:
        assistant_factory: opens the assistant, or keeps one that is opened elsewhere.
        settings: where the page writes files.

    Returns:
        The page, to be launched with ``look()``.
    """
    keeper = assistant_factory if isinstance(assistant_factory, AssistantKeeper) else AssistantKeeper(assistant_factory)
    with gr.Blocks(analytics_enabled=False, title="Rigfit", fill_width=True) as page:
        conversation = Conversation(keeper, settings, GpuCatalogue.load())
        Page(page, conversation, Transcripts(keeper, settings), MemoryView(keeper, settings))
    page.queue(default_concurrency_limit=8)
    return page


class Page:
    """The components and what happens when they are used. Build it inside ``gr.Blocks``."""

    def __init__(
        self, root: gr.Blocks, conversation: Conversation, transcripts: Transcripts, remembered: MemoryView
    ) -> None:
        self._root, self._conversation, self._transcripts = root, conversation, transcripts
        self._remembered = remembered
        self._labels: list[tuple[Any, Callable[[Say], dict[str, Any]]]] = []
        self.memory = gr.Textbox(visible=False)
        self.shown = gr.State(Shown())
        self.header = gr.HTML(header("en"), js_on_load=_HEADER_JS, apply_default_css=False, elem_id="rf-header")
        self._label(self.header, lambda say: {"value": header(say("ui.language"))})
        self._build_rig()
        with gr.Row(elem_id="rf-main", equal_height=False):
            with gr.Column(scale=11, min_width=320, elem_id="rf-talk"):
                self._build_chat()
                self._build_files()
            with gr.Column(scale=9, min_width=320, elem_id="rf-side"):
                self.panel = gr.HTML(
                    conversation.example_panel("en") or empty_panel("en"), js_on_load=_PANEL_JS, apply_default_css=False
                )
        self._connect()

    def _label(self, component: Any, words: Callable[[Say], dict[str, Any]]) -> None:
        """Remember how a component is named in each language."""
        self._labels.append((component, words))

    def _build_rig(self) -> None:
        say = _say("en")
        with gr.Accordion(say("ui.rig_none"), open=False, elem_id="rf-rig") as self.rig:
            self.kept = gr.HTML("", js_on_load=MEMORY_JS, apply_default_css=False, elem_id="rf-memory")
            with gr.Row():
                self.card = gr.Dropdown(
                    list(COMMON_CARDS), value=None, label=say("ui.rig_card"), info=say("ui.rig_card_info"),
                    allow_custom_value=True, filterable=True, scale=4, min_width=200, elem_id="rf-card",
                )  # fmt: skip
                self.count = gr.Textbox("1", label=say("ui.rig_count"), info="1, 2, 8", scale=1, min_width=90)
                self.reserved = gr.Textbox("", label=say("ui.rig_reserved"), info="2GiB", scale=2, min_width=130)
                self.ram = gr.Textbox("", label=say("ui.rig_ram"), info="64GiB", scale=2, min_width=130)
            with gr.Row(elem_id="rf-rig-actions"):
                self.detect = gr.Button(say("ui.rig_detect"), size="sm", scale=0, min_width=180)
                self.clear = gr.Button(say("ui.rig_clear"), size="sm", scale=0, min_width=100)
                self.rig_name = gr.Textbox(
                    "", label=say("recall.save_name"), placeholder=say("recall.save_hint"), show_label=False,
                    container=False, scale=0, min_width=200, max_lines=1, elem_id="rf-rig-name",
                )  # fmt: skip
                self.remember = gr.Button(say("recall.save"), size="sm", scale=0, min_width=120, elem_id="rf-remember")
                self.rig_status = gr.HTML("", elem_id="rf-rig-status")
        self._label(self.card, lambda say: {"label": say("ui.rig_card"), "info": say("ui.rig_card_info")})
        self._label(self.count, lambda say: {"label": say("ui.rig_count")})
        self._label(self.reserved, lambda say: {"label": say("ui.rig_reserved")})
        self._label(self.ram, lambda say: {"label": say("ui.rig_ram")})
        self._label(self.detect, lambda say: {"value": say("ui.rig_detect")})
        self._label(self.clear, lambda say: {"value": say("ui.rig_clear")})
        self._label(
            self.rig_name, lambda say: {"label": say("recall.save_name"), "placeholder": say("recall.save_hint")}
        )
        self._label(self.remember, lambda say: {"value": say("recall.save")})

    def _build_chat(self) -> None:
        say = _say("en")
        self.chat = gr.Chatbot(
            label=say("ui.chat_label"), show_label=False, container=False, autoscroll=False, layout="bubble",
            height=None, buttons=["copy"], feedback_options=None, latex_delimiters=[], allow_tags=False,
            placeholder=say("ui.chat_empty"), group_consecutive_messages=True, elem_id="rf-chat",
            examples=[{"text": example, "display_text": example} for example in EXAMPLES],
        )  # fmt: skip
        self.box = gr.Textbox(
            "", show_label=False, label=say("ui.message_label"), placeholder=say("ui.message_placeholder"), lines=1,
            max_lines=8, submit_btn=True, stop_btn=False, container=False, elem_id="rf-box", autofocus=True,
        )  # fmt: skip
        self.writer = gr.Radio(
            [(say("ui.writer_rules"), CONFIGURED)], value=CONFIGURED, label=say("ui.writer_label"), visible=False,
            container=False, elem_id="rf-writer",
        )  # fmt: skip
        self.writers = gr.State(())
        self._label(self.chat, lambda say: {"placeholder": say("ui.chat_empty")})
        self._label(
            self.box, lambda say: {"label": say("ui.message_label"), "placeholder": say("ui.message_placeholder")}
        )

    def _build_files(self) -> None:
        say = _say("en")
        self.file = gr.Textbox(visible=False)
        with gr.Row(elem_id="rf-transcripts"):
            self.save = gr.Button(say("transcripts.export"), size="sm", scale=0, min_width=150)
            self.open = gr.UploadButton(
                say("transcripts.import"), size="sm", scale=0, min_width=150, file_types=[".md", ".json", ".txt"],
                elem_id="rf-open",
            )  # fmt: skip
        self._label(self.save, lambda say: {"value": say("transcripts.export")})
        self._label(self.open, lambda say: {"label": say("transcripts.import")})

    def _connect(self) -> None:
        """Say what happens when the page is opened, a message sent, an option picked."""
        fields = [self.card, self.count, self.reserved, self.ram]
        talk = [self.box, self.chat, self.panel, self.shown, self.rig, *fields]
        everything = [self.chat, self.panel, self.shown, self.rig, *fields]
        labelled = [component for component, _ in self._labels]
        quiet: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}

        gr.on(
            [self._root.load], self._opened, [self.memory], [*everything, *labelled], js=_PAGE_JS_INPUT, **quiet
        ).then(None, None, None, js="() => window.rigfit.ready()").then(
            self._remembered.view, [self.shown], self.kept, **quiet
        )
        self.header.language(
            self._translated, [self.memory, self.shown], [self.panel, self.shown, self.rig, *labelled],
            js=_PAGE_JS_INPUT, **quiet,
        ).then(self._remembered.view, [self.shown], self.kept, **quiet)  # fmt: skip

        inputs = [*talk[:2], self.shown, *fields, self.writer]
        send = {"fn": self._conversation.send, "inputs": inputs, "outputs": talk, **quiet}
        sent: list[Any] = [self.box.submit(**send)]
        for event in (self.chat.example_select, self.chat.option_select):
            sent.append(event(_picked_text, None, self.box, queue=False, **quiet).then(**send))
        self.box.stop(self._conversation.stopped, [self.chat, self.shown], [self.chat, self.box], cancels=sent, **quiet)
        self.header.fresh(
            self._opened, [self.memory], [*everything, *labelled], js=_PAGE_JS_INPUT, cancels=sent, **quiet
        ).then(_ready_box, None, self.box, **quiet)  # fmt: skip
        latest: dict[str, Any] = {**quiet, "trigger_mode": "always_last"}
        self.panel.pick(self._picked_option, [self.shown], [self.panel, self.shown], **latest)
        self.panel.target(self._picked_target, [self.shown], [self.panel, self.shown], **latest)
        self.panel.choice(self._toggled_choice, [self.shown], [self.panel, self.shown], **latest)
        for event in sent:
            event.then(self._remembered.view, [self.shown], self.kept, **quiet)
        self._connect_rig(fields, latest)
        self._connect_memory(fields, everything, labelled, quiet)
        self._connect_files([*everything, *labelled], sent, quiet)
        gr.on(
            [self._root.load, gr.Timer(_LOOK_S).tick], self._conversation.writers_now,
            [self.writer, self.writers, self.shown], [self.writer, self.writers], queue=False, **quiet,
        )  # fmt: skip

    def _connect_files(self, everything: list[Any], sent: list[Any], quiet: dict[str, Any]) -> None:
        """Say what happens when the conversation is saved, or one is opened from a file."""
        self.save.click(self._transcripts.saved, [self.shown], self.file, **quiet).then(
            None, [self.file], None, js=SAVE_JS
        )
        begun = self.open.upload(
            self._transcripts.opened, [self.open, self.shown], self.memory, cancels=sent, **quiet
        ).then(None, [self.memory], None, js=OPENED_JS)  # fmt: skip
        begun.then(self._opened, [self.memory], everything, js=_PAGE_JS_INPUT, **quiet).then(
            _ready_box, None, self.box, **quiet
        )

    def _connect_rig(self, fields: list[Any], latest: dict[str, Any]) -> None:
        """Say what happens when the hardware fields are used; of quick changes the last counts."""
        rig = {"inputs": [self.shown, *fields], "outputs": [self.rig, self.rig_status], **latest}
        gr.on(
            [self.card.input, *(event for box in fields[1:] for event in (box.submit, box.blur))],
            self._conversation.rig_edited, **rig,
        )  # fmt: skip
        found = self.detect.click(self._conversation.rig_detected, [self.shown], [*fields, self.rig_status], **latest)
        found.then(self._conversation.rig_named, rig["inputs"], [self.rig], **latest)
        self.clear.click(self._conversation.rig_cleared, [self.shown], [*fields, self.rig, self.rig_status], **latest)

    def _connect_memory(
        self, fields: list[Any], everything: list[Any], labelled: list[Any], quiet: dict[str, Any]
    ) -> None:
        """Say what happens when something is remembered, taken from memory or forgotten."""
        whole = {"inputs": [self.shown], "outputs": self.kept, **quiet}
        self.kept.pick(self._picked_rig, [self.shown], [*fields, self.rig, self.rig_status], **quiet)
        self.kept.forget(self._forgotten, **whole)
        self.kept.unlike(self._unliked, **whole)
        self.kept.export(self._remembered.export, [self.shown], self.file, **quiet).then(
            None, [self.file], None, js=SAVE_JS
        )
        self.kept.erase(self._remembered.erase, **whole).then(
            self._opened, [self.memory], [*everything, *labelled], js=_PAGE_JS_INPUT, **quiet
        )
        name = {"inputs": [self.shown, self.rig_name, *fields], "outputs": [self.rig_name, self.rig_status], **quiet}
        gr.on([self.remember.click, self.rig_name.submit], self._named, **name).then(
            self._remembered.view, [self.shown], self.kept, **quiet
        )

    async def _picked_rig(self, shown: Shown, event: gr.EventData) -> list[Any]:
        rig = await self._remembered.rig(shown, str(event._data.get("name", "")))
        return self._conversation.rig_taken(shown, rig)

    async def _forgotten(self, shown: Shown, event: gr.EventData) -> Any:
        return await self._remembered.forget(shown, str(event._data.get("name", "")))

    async def _unliked(self, shown: Shown, event: gr.EventData) -> Any:
        return await self._remembered.unlike(shown, str(event._data.get("key", "")))

    async def _named(self, shown: Shown, name: str, card: Any, count: Any, reserved: Any, ram: Any) -> list[Any]:
        """Remember the hardware of the fields; returns updates of the name and the status line."""
        rig, problem = self._conversation.rig_typed(shown, card, count, reserved, ram)
        status = await self._remembered.save(shown, name, rig) if rig else problem
        return [gr.skip() if status is None or not rig else "", status or gr.skip()]

    async def _opened(self, memory: str, request: gr.Request) -> list[Any]:
        """Show the remembered conversation, or the example, in the browser's language."""
        shown, updates = await self._conversation.opened(memory, request.headers.get("accept-language", ""))
        return [*updates, *self._words(shown.language)]

    async def _translated(self, memory: str, shown: Shown) -> list[Any]:
        """Change the language of the page; what was said in the chat stays as it was said."""
        changed, updates = await self._conversation.translated(memory, shown)
        return [*updates, *self._words(changed.language)]

    def _words(self, language: str) -> list[Any]:
        say = _say(language)
        return [type(component)(**words(say)) for component, words in self._labels]

    async def _picked_option(self, shown: Shown, event: gr.EventData) -> list[Any]:
        return await self._conversation.picked(shown, str(event._data.get("option", "")))

    async def _picked_target(self, shown: Shown, event: gr.EventData) -> list[Any]:
        return await self._conversation.target_picked(shown, str(event._data.get("target", "")))

    async def _toggled_choice(self, shown: Shown, event: gr.EventData) -> list[Any]:
        return await self._conversation.choice_toggled(shown, str(event._data.get("choice", "")))


def _say(language: str) -> Say:
    return lambda code: language if code == "ui.language" else text(language, code)


def _ready_box() -> Any:
    """Make the message box ready for the next message."""
    return gr.Textbox(value="", submit_btn=True, stop_btn=False)


def _picked_text(event: gr.SelectData) -> str:
    """Return the words of a clicked example or follow-up."""
    value = event.value
    return str(value.get("text") or value.get("value") or "") if isinstance(value, dict) else str(value)


_HEADER_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-rf]');
  if (!button) return;
  if (button.dataset.rf === 'theme') window.rigfit.theme();
  if (button.dataset.rf === 'fresh') { window.rigfit.fresh(); trigger('fresh'); }
  if (button.dataset.rf === 'language') { window.rigfit.language(button.value); trigger('language'); }
});
"""

_PANEL_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-rf-option], [data-rf-target], [data-rf-choice]');
  if (!button) return;
  const data = button.dataset;
  if (data.rfOption) trigger('pick', {option: data.rfOption});
  if (data.rfTarget) trigger('target', {target: data.rfTarget});
  if (data.rfChoice) trigger('choice', {choice: data.rfChoice});
});
"""
