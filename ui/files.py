"""The part of the plan panel that hands out launch files: for which target, made how, and what checked them."""

from __future__ import annotations

from dataclasses import dataclass

from prompts import messages, text
from tools.launch.choices import ALLOWED, DEFAULT, Choices
from tools.launch.files import Check
from tools.launch.generate import TARGETS
from ui.downloads import Download, Offered
from ui.markup import Markup, join, tag
from ui.output import say

_CHECK_SIGNS = {True: "✓", False: "✗", None: "–"}


@dataclass(frozen=True, slots=True)
class FilesView:
    """What the files section shows.

    Attributes:
        target: the target that is picked.
        choices: what is chosen about its files.
        offered: its files, None where there are none.
        problem: why there are none.
    """

    target: str = "compose"
    choices: Choices = DEFAULT
    offered: Offered | None = None
    problem: str | None = None


def files_section(view: FilesView, language: str, *, fits: bool = True) -> Markup:
    """Show the targets as buttons, the choices of the picked one, and its files.

    Args:
        view: what is picked and what came of it.
        language: ``en`` or ``ru``.
        fits: whether the shown option fits; a target of another engine may still have files where it does not.
    """
    problem = view.problem or (None if view.offered or fits else text(language, "ui.files_none"))
    return join(
        tag("h3", text(language, "ui.files_heading")),
        tag(
            "div",
            *(_target(name, view.target, language) for name in TARGETS),
            class_="rf-targets",
            role="group",
            aria_label=text(language, "ui.files_target"),
        ),
        _choices(view, language),
        tag("p", problem, class_="rf-note", role="status") if problem else None,
        _offered(view.offered, language) if view.offered else None,
    )


def target_name(target: str, language: str) -> str:
    """Return a target's name in words."""
    return messages(language, "ui").get(f"files_{target.replace('-', '_')}", target)


def _target(name: str, picked: str, language: str) -> Markup:
    pressed = "true" if name == picked else "false"
    return tag("button", target_name(name, language), type="button", data_rf_target=name, aria_pressed=pressed)


def _choices(view: FilesView, language: str) -> Markup | None:
    """A button a choice that is not the default, pressed where it is taken."""
    known = TARGETS[view.target].choices if view.target in TARGETS else ()
    buttons: list[Markup] = []
    for name in known:
        taken = getattr(view.choices, name)
        for word in ALLOWED.get(name, (False, True))[1:]:
            label = text(language, f"ui.choice_{name}_{str(word).lower().replace('-', '_')}")
            pressed = "true" if taken == word else "false"
            asked = f"{name}:{word}"
            buttons.append(tag("button", label, type="button", data_rf_choice=asked, aria_pressed=pressed))
    if not buttons:
        return None
    return tag("div", *buttons, class_="rf-choices", role="group", aria_label=text(language, "ui.files_choices"))


def toggled(choices: Choices, asked: str) -> Choices:
    """Return the choices with ``"name:word"`` taken, or given up where it was taken; anything else changes nothing."""
    from dataclasses import replace

    name, _, word = asked.partition(":")
    if name not in Choices.__dataclass_fields__:
        return choices
    allowed = ALLOWED.get(name, (False, True))
    wanted = next((one for one in allowed[1:] if str(one) == word), None)
    if wanted is None:
        return choices
    return replace(choices, **{name: allowed[0] if getattr(choices, name) == wanted else wanted})


def _offered(offered: Offered, language: str) -> Markup:
    notes = [tag("p", say(language, note), class_="rf-note") for note in offered.notes]
    whole = tag("li", _link(offered.archive, text(language, "ui.files_zip")))
    links = [tag("li", _link(file, file.name)) for file in offered.files]
    checks = [_check(check, language) for check in offered.checks]
    return join(
        *notes,
        tag("ul", whole, *links, class_="rf-files"),
        tag("ul", *checks, class_="rf-checks", aria_label=text(language, "ui.files_checks")) if checks else None,
    )


def _link(file: Download, words: str) -> Markup:
    link = tag("a", words, href=file.url, download=file.name.rpartition("/")[2])
    return join(link, " ", tag("span", f"{file.size_bytes / 1000:.1f} kB", class_="rf-note"))


def _check(check: Check, language: str) -> Markup:
    word = text(language, f"ui.check_{str(check.ok).lower()}")
    return tag("li", f"{_CHECK_SIGNS[check.ok]} {check.name}: {word}", title=check.detail)
