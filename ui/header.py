"""The line at the top of the page."""

from __future__ import annotations

from prompts import text
from ui.markup import Markup, tag


def header(language: str) -> Markup:
    """Show the name, what the page is for, and the three switches."""
    languages = [
        tag(
            "button",
            code.upper(),
            type="button",
            value=code,
            data_rf="language",
            aria_pressed="true" if code == language else "false",
            lang=code,
        )
        for code in ("en", "ru")
    ]
    return tag(
        "header",
        tag("h1", text(language, "ui.title")),
        tag("p", text(language, "ui.tagline")),
        tag(
            "div",
            tag("button", "+ ", text(language, "ui.new_chat"), type="button", data_rf="fresh", class_="rf-fresh"),
            tag("span", *languages, class_="rf-languages", role="group", aria_label=text(language, "ui.language_name")),
            tag(
                "button",
                "◐",
                type="button",
                data_rf="theme",
                aria_label=text(language, "ui.theme"),
                title=text(language, "ui.theme"),
            ),
            class_="rf-tools",
        ),
        class_="rf-header",
        lang=language,
        data_send=text(language, "ui.send"),
        data_stop=text(language, "ui.stop"),
    )
