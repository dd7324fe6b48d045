"""What is remembered of the asker, beside the hardware fields: a chip a machine, saving, export and deleting all."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import gradio as gr

from prompts import text
from tools.domain import Rig
from tools.errors import RigfitError
from tools.settings import Settings
from ui.assistants import AssistantKeeper
from ui.markup import Markup, tag
from ui.output import log_failure, sentence

if TYPE_CHECKING:
    from agent.session import Assistant
    from ui.conversation import Shown

T = TypeVar("T")
EXPORT_NAME = "rigfit-memory.json"

MEMORY_JS = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-rf-rig], [data-rf-forget], [data-rf-unlike], [data-rf-memory]');
  if (!button) return;
  const data = button.dataset;
  if (data.rfRig !== undefined) trigger('pick', {name: data.rfRig});
  if (data.rfForget !== undefined) trigger('forget', {name: data.rfForget});
  if (data.rfUnlike !== undefined) trigger('unlike', {key: data.rfUnlike});
  if (data.rfMemory === 'export') trigger('export');
  if (data.rfMemory === 'erase' && confirm(data.rfSure)) trigger('erase');
});
"""
"""Makes clicks into events; what deletes everything is asked about first."""


class MemoryView:
    """What the chips and buttons do.

    Args:
        keeper: hands out the assistant.
        settings: where the log is written.
    """

    def __init__(self, keeper: AssistantKeeper, settings: Settings) -> None:
        self._keeper, self._settings = keeper, settings

    async def view(self, shown: Shown) -> Markup:
        """Show what is remembered."""
        found = await self._try(shown, _view_of(shown.language))
        return found if found is not None else Markup("")

    async def rig(self, shown: Shown, name: str) -> Rig | None:
        """Return remembered hardware; None where there is none of that name."""

        async def find(assistant: Assistant) -> Rig | None:
            rigs = {one.name: one for one in await assistant.memory.rigs()}
            return assistant.workbench.rig_from_json(dict(rigs[name].rig)) if name in rigs else None

        return await self._try(shown, find)

    async def save(self, shown: Shown, name: str, rig: Rig) -> Markup | None:
        """Remember hardware; returns its line for the status, None where that failed."""

        async def keep(assistant: Assistant) -> Markup:
            from agent.recall.tool import label

            data = assistant.workbench.rig_json(rig)
            kept = await assistant.memory.save_rig(name, data)
            said = text(shown.language, "recall.remembered_rig", name=kept, rig=label(data))
            return tag("p", said, role="status")

        return await self._try(shown, keep)

    async def forget(self, shown: Shown, name: str) -> Markup:
        """Forget hardware; returns what is left, shown."""
        await self._try(shown, lambda assistant: assistant.memory.forget_rig(name))
        return await self.view(shown)

    async def unlike(self, shown: Shown, key: str) -> Markup:
        """Forget a preference; returns what is left, shown."""
        await self._try(shown, lambda assistant: assistant.memory.prefer({key: None}))
        return await self.view(shown)

    async def export(self, shown: Shown) -> str:
        """Return everything as ``{"name", "text"}`` in JSON, for the browser to save."""
        found = await self._try(shown, lambda assistant: assistant.export())
        return "" if found is None else json.dumps(
            {"name": EXPORT_NAME, "text": json.dumps(found, ensure_ascii=False, indent=2)}
        )  # fmt: skip

    async def erase(self, shown: Shown) -> Markup:
        """Delete everything; returns what is left, shown."""

        async def erased(assistant: Assistant) -> bool:
            await assistant.erase()
            return True

        if await self._try(shown, erased):
            gr.Info(text(shown.language, "recall.erased"))
        return await self.view(shown)

    async def _try(self, shown: Shown, do: Callable[[Assistant], Awaitable[T]]) -> T | None:
        """Do something with the assistant; what goes wrong is one sentence."""
        try:
            return await do(await self._keeper.get())
        except RigfitError as error:
            gr.Warning(sentence(shown.language, error))
        except Exception as error:  # noqa: BLE001 - the edge: one sentence, and the page stays usable
            gr.Warning(text(shown.language, "errors_ui.failed", log=log_failure(error, self._settings)))
        return None


def _view_of(language: str) -> Callable[[Assistant], Awaitable[Markup]]:
    async def drawn(assistant: Assistant) -> Markup:
        from agent.recall.tool import label

        rigs, liked = await assistant.memory.rigs(), await assistant.memory.preferences()
        chips = [_chip(one.name, label(one.rig), language) for one in rigs]
        wishes = [_wish(key, value, language) for key, value in liked.items()]
        return tag(
            "div",
            tag("span", text(language, "recall.panel_rigs"), class_="rf-memory-title") if chips else None,
            *chips,
            *wishes,
            tag(
                "span",
                tag("button", text(language, "recall.export"), type="button", data_rf_memory="export"),
                tag(
                    "button", text(language, "recall.erase"), type="button", data_rf_memory="erase",
                    data_rf_sure=text(language, "recall.sure"),
                ),
                class_="rf-memory-all",
            ),
            class_="rf-memory", role="group", aria_label=text(language, "recall.panel"), lang=language,
        )  # fmt: skip

    return drawn


def _chip(name: str, rig: str, language: str) -> Markup:
    forget = text(language, "recall.forget", name=name)
    return tag(
        "span",
        tag("button", tag("b", name), " ", rig, type="button", data_rf_rig=name),
        tag("button", "×", type="button", data_rf_forget=name, aria_label=forget, title=forget),
        class_="rf-chip",
    )


def _wish(key: str, value: Any, language: str) -> Markup:
    from agent.answer.recalled import liked_words

    forget = text(language, "recall.forget", name=key)
    return tag(
        "span",
        tag("span", liked_words({key: value}, language)),
        tag("button", "×", type="button", data_rf_unlike=key, aria_label=forget, title=forget),
        class_="rf-chip",
    )
