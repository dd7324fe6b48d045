"""Transcripts as files: written and read back, in the forms that other programs and people give them."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.transcripts.as_json import from_json, to_json
from agent.transcripts.files import file_name, read_transcript
from agent.transcripts.nexus import from_markdown, to_markdown
from agent.transcripts.transcript import MAX_BYTES, MAX_MESSAGES, Said, Transcript, tidied
from tools.errors import BadValue

MADE_ELSEWHERE = """---
nexus: nexus-ai-chat-importer
plugin_version: "1.2.0"
provider: chatgpt
aliases: "Local GPT: a setup"
create_time: 07/24/2025 at 4:28 PM
---

# Title: Local GPT: a setup

Created: 07/24/2025 at 4:28 PM
Chat URL: https://chat.example/c/1


>[!nexus_user] **User** - 07/24/2025 at 4:29 PM
> Will Qwen3-30B fit?
<!-- UID: 59e6441b-a0d8-4cfc-a089-eb63ffd6bd73 -->




>[!nexus_agent] **Assistant** - 07/24/2025 at 4:29 PM
> Let’s see.
> 
> ---
>
> ```yaml
> key: 1
> >[!note] in a fence
> ```
> > quoted
<!-- UID: 44eeea67-066e-446e-bf13-26fb4a9a77d7 -->

---
"""  # noqa: W291

TEXTS = st.one_of(
    st.text(max_size=120),
    st.lists(
        st.sampled_from(
            [
                ">[!nexus_user] **User**",
                "[!nexus_agent] **Assistant** - 2026-01-01",
                "> quoted",
                "<!-- UID: x -->",
                "```",
                "---",
                "# Title",
                "\\[!nexus_user]",
                "    code",
                "",
                "> > deeper",
                "\t- item",
                "~~~",
                "[!NEXUS_USER]x",
            ]
        ),
        max_size=8,
    ).map("\n".join),
)
TRANSCRIPTS = st.builds(
    Transcript,
    st.lists(
        st.builds(
            Said,
            st.sampled_from(["user", "agent"]),
            TEXTS,
            st.sampled_from(["", "2026-11-23T21:13:21", "2026-11-23T21:13", "2026-11-23", "10/05/2025 at 20:33"]),
            st.text(max_size=6),
        ),
        min_size=1,
        max_size=5,
    ).map(tuple),
    st.text(max_size=40),
    st.sampled_from(["", "en", "ru"]),
    st.text(max_size=10),
)  # fmt: skip


def texts(transcript: Transcript) -> list[tuple[str, str]]:
    return [(said.role, said.text) for said in transcript.messages]


@given(TRANSCRIPTS)
def test_what_is_written_is_read_and_written_again_the_same(made: Transcript) -> None:
    try:
        transcript = tidied(made)
    except BadValue:
        return
    for write, read in ((to_markdown, from_markdown), (to_json, from_json)):
        again = read(write(transcript))
        assert texts(again) == texts(transcript)
        assert write(again) == write(transcript)


def code_of(data: bytes) -> str:
    """Read a file; returns the code of its refusal, empty where it was read."""
    try:
        read_transcript(data)
    except BadValue as error:
        return error.code
    return ""


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    for prefix in ("", ">[!nexus_user]", "---\n", "{", "["):
        assert code_of((prefix + text).encode()).partition(".")[0] in {"", "transcripts"}


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_in_words(data: bytes) -> None:
    assert code_of(data).partition(".")[0] in {"", "transcripts"}


def test_a_transcript_of_another_program_is_read() -> None:
    transcript = from_markdown(MADE_ELSEWHERE)
    assert transcript.title == "Local GPT: a setup"
    user, agent = transcript.messages
    assert (user.text, user.at) == ("Will Qwen3-30B fit?", "2025-07-24T16:29")
    assert user.uid == "59e6441b-a0d8-4cfc-a089-eb63ffd6bd73"
    assert agent.text.startswith("Let’s see.\n\n---\n\n```yaml")
    assert agent.text.endswith(">[!note] in a fence\n```\n> quoted")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: "\ufeff" + t,
        lambda t: t.replace("nexus_user", "NEXUS_USER").replace("nexus_agent", "Nexus_Assistant"),
        lambda t: t.replace("\n>[!", "\n> [!"),
        lambda t: t.replace("\n>[!", "\n  >  [!").replace("] **", "]-   **"),
        lambda t: "\n".join(line for line in t.split("\n") if "UID" not in line),
        lambda t: "\n".join(line.rstrip() for line in t.split("\n")),
        lambda t: t.replace("<!-- UID: ", "<!--uid:"),
        lambda t: t.partition("---\n\n# ")[2],
        lambda t: t.replace('aliases: "', "aliases: [\t{ broken: *x "),
        lambda t: t.replace("> Will Qwen3-30B", "> Will\nQwen3-30B").replace("Will\nQ", "Will Q"),
    ],
)  # fmt: skip
def test_reading_is_lenient(change: Callable[[str], str]) -> None:
    changed = from_markdown(change(MADE_ELSEWHERE))
    assert texts(changed) == texts(from_markdown(MADE_ELSEWHERE))


@pytest.mark.parametrize(
    ("words", "read"),
    [
        ("2026-11-23 at 21:13:21", "2026-11-23T21:13:21"),
        ("2026/06/15 at 08:12:21", "2026-06-15T08:12:21"),
        ("10.05.2025 at 20:33", "2025-05-10T20:33"),
        ("06/20/2025 at 6:15:33 AM", "2025-06-20T06:15:33"),
        ("20/06/2025 at 12:05", "2025-06-20T12:05"),
        ("07/08/2025 at 12:05 AM", "2025-07-08T00:05"),
        ("2025-06-20T11:15:33.000Z", "2025-06-20T11:15:33"),
        ("23.11.2026 в 21:13", "2026-11-23T21:13"),
        ("2026-11-23", "2026-11-23"),
        ("07/08/2025 at 12:05", "07/08/2025 at 12:05"),
        ("2026-13-45 at 99:00", "2026-13-45 at 99:00"),
        ("yesterday", "yesterday"),
    ],
)
def test_dates_are_read_or_kept_as_they_are(words: str, read: str) -> None:
    assert from_markdown(f">[!nexus_user] **User** - {words}\n> hello").messages[0].at == read


def test_one_date_of_a_file_tells_how_the_others_are_read() -> None:
    file = ">[!nexus_user] **User** - 07/08/2025 at 12:05\n> a\n\n>[!nexus_agent] **A** - 25/08/2025 at 12:05\n> b"
    assert [said.at for said in from_markdown(file).messages] == ["2025-08-07T12:05", "2025-08-25T12:05"]


def test_two_messages_never_share_an_identifier() -> None:
    said = ">[!nexus_user] **User**\n> a\n<!-- UID: same -->\n\n"
    found = [one.uid for one in from_markdown(said * 3 + ">[!nexus_user]\n> b").messages]
    assert len(set(found)) == 4
    assert found == [one.uid for one in from_markdown(said * 3 + ">[!nexus_user]\n> b").messages]


def test_damage_is_mended_and_told() -> None:
    text = ">[!nexus_user] **User** - 2026-11-23 at 21:13\n> Пойдут ли две модели? а если 4090?\n"
    for codec, name in (("mac_roman", "Mac Roman"), ("cp866", "CP866")):
        imported = read_transcript(text.encode().decode(codec).encode())
        assert imported.transcript.messages[0].text == "Пойдут ли две модели? а если 4090?"
        assert [(note.code, note.params) for note in imported.notes] == [("transcripts.mended", {"encodings": name})]
    assert read_transcript(text.encode()).notes == ()


def test_json_of_others_is_read() -> None:
    rows = [
        {"role": "system", "content": "obey"},
        {"role": "user", "content": [{"type": "text", "text": "Qwen3-8B?"}, {"type": "image_url"}]},
        {"role": "assistant", "content": "It fits.", "tool_calls": [{"name": "x"}]},
        {"role": "tool", "content": "secret"},
        "nonsense",
    ]
    expected = [("user", "Qwen3-8B?"), ("agent", "It fits.")]
    assert texts(read_transcript(json.dumps(rows).encode()).transcript) == expected
    assert texts(read_transcript(json.dumps({"messages": rows}).encode()).transcript) == expected


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "nothing_said"),
        (b"just text", "nothing_said"),
        (b">[!nexus_system] **System**\n> x", "nothing_said"),
        (b"{", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"format": "rigfit-transcript", "version": 99, "messages": []}', "other_version"),
        (b"x" * (MAX_BYTES + 1), "too_large"),
        (b">[!nexus_user]\n> x\n" * (MAX_MESSAGES + 1), "too_many"),
    ],
)
def test_what_is_no_transcript_is_refused_in_words(data: bytes, code: str) -> None:
    with pytest.raises(BadValue) as refused:
        read_transcript(data)
    assert refused.value.code == f"transcripts.{code}"


@pytest.mark.parametrize(
    "front",
    [
        "title: !!python/object/apply:os.system ['false']",
        "a: &a [x,x]\nb: &b [*a,*a]\ntitle: *b",
        "title: " + "[" * 9000,
        "title: 'x\n" * 50,
    ],
)
def test_front_matter_makes_nothing_but_words(front: str) -> None:
    transcript = from_markdown(f"---\n{front}\n---\n>[!nexus_user] **User**\n> hello\n")
    assert texts(transcript) == [("user", "hello")]
    assert "[" not in transcript.title


def test_a_file_gets_a_name_that_every_system_takes() -> None:
    said = (Said("user", "x"),)
    assert file_name(Transcript(said, "../../etc/passwd: две?"), "md") == "etc-passwd-две.md"
    assert file_name(Transcript(said, "???"), "json") == "rigfit.json"
