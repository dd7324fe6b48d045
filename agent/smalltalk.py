"""Messages too short to be read as a question: bare thanks, "run them", and the bare name of another kind of files."""

from __future__ import annotations

import re

_THANKS = frozenset({"thanks", "thank", "thx", "ty", "cheers", "спасибо", "спс", "благодарю", "пасиб", "сенкс"})
_AROUND = frozenset(
    {"you", "very", "much", "a", "lot", "so", "many", "great", "ok", "okay", "got", "it", "cool", "perfect", "nice"}
    | {"большое", "огромное", "вам", "тебе", "ок", "окей", "понял", "поняла", "понятно", "ясно", "отлично", "супер"}
    | {"bye", "круто", "за", "ответ", "помощь", "всё", "все", "пока", "the", "for", "help", "answer"}
)  # fmt: skip


def is_thanks(text: str) -> bool:
    """Tell whether a whole message only thanks: "Отлично, спасибо!" does, "спасибо, а на 3090?" asks."""
    words = re.findall(r"\w+", text.lower())
    return any(w in _THANKS for w in words) and all(w in _THANKS or w in _AROUND for w in words)


_RUN = frozenset(
    {"run", "serve", "start", "launch", "deploy"}
    | {"запусти", "запустите", "запускай", "запускайте", "запустим", "запустить", "стартуй", "стартуем", "запускаем"}
    | {"подними", "поднимите", "поднимай", "поднимаем", "поднять", "разверни", "разверните", "развернуть"}
)
_OBJECTS = frozenset(
    {"them", "it", "these", "this", "those", "that", "both", "all", "the", "model", "models", "two", "of", "one"}
    | {"их", "его", "её", "ее", "эти", "это", "эту", "этот", "обе", "оба", "обоих", "модели", "модель", "моделей"}
    | {"now", "please", "ok", "okay", "yes", "let", "lets", "s", "us", "can", "could", "would", "will", "you", "go"}
    | {"ahead", "and", "then", "for", "me", "here", "how", "do", "i", "we", "to", "so", "great", "just", "up"}
    | {"теперь", "сейчас", "давай", "давайте", "ну", "ок", "окей", "да", "можешь", "можете", "сможешь", "ли", "ты"}
    | {"вы", "все", "поехали", "тогда", "здесь", "тут", "мне", "пожалуйста", "а", "и", "как", "всё", "отлично"}
    | {"хорошо", "две", "прошу", "просто", "уже", "сам", "вместе", "сразу", "together"}
)  # fmt: skip


def asks_to_run(text: str) -> bool:
    """Tell whether a whole message only asks to run what was planned: "запусти их" does, "run Qwen3-8B" names more."""
    words = re.findall(r"\w+", text.lower())
    return any(w in _RUN for w in words) and all(w in _RUN or w in _OBJECTS for w in words)


_TARGETS = {
    "compose": "docker_compose",
    "docker": "docker_compose",
    "vllm": "vllm_serve",
    "serve": "vllm_serve",
    "systemd": "vllm_serve",
    "webui": "webui",
    "oobabooga": "webui",
    "llamacpp": "llama_cpp",
    "llama.cpp": "llama_cpp",
    "llama-server": "llama_cpp",
    "llama-swap": "llama_swap",
    "llamaswap": "llama_swap",
    "ollama": "ollama",
    "оллама": "ollama",
    "sglang": "sglang",
    "kubernetes": "k8s",
    "k8s": "k8s",
    "helm": "k8s",
    "кубернетес": "k8s",
    "кубер": "k8s",
    "ray": "ray",
    "slurm": "slurm",
}
_ASIDE = frozenset(
    {"now", "and", "for", "the", "same", "with", "as", "in", "to", "too", "please", "but", "what", "about", "files"}
    | {"теперь", "а", "и", "для", "то", "же", "самое", "в", "под", "на", "тоже", "ещё", "еще", "пожалуйста", "файлы"}
    | {"command", "commands", "команды", "команду"}
)


def target_named(text: str) -> str | None:
    """Return the kind of files that a message only names: "теперь для vllm" is ``vllm_serve``."""
    words = re.findall(r"\w+(?:[.-]\w+)*", text.lower())
    kinds = [_TARGETS[word] for word in words if word in _TARGETS]
    return kinds[-1] if kinds and all(word in _TARGETS or word in _ASIDE for word in words) else None


_DEFINES = re.compile(
    r"^\W*(?:(?:and|so|ok|а|и|ну|так|слушай)\W+)?"
    r"(?:what(?:'s|s|\s+is|\s+are|\s+does)\s|explain\s|tell me about\s|define\s"
    r"|что\s+(?:такое|значит|означает|за)\s|(?:поясни|объясни|расскажи)(?:те)?\s)",
    re.IGNORECASE,
)
_REASONS = re.compile(
    r"\b(?:why|how\s+(?:does|do|is|are|come)|difference|differs?|vs|versus|what\s+for|should\s+i|which|when"
    r"|can\s+i\s+(?:mix|combine|pair)|(?:mix|combine|pair)\s+(?:a|an|my|two|different)|smarter|cost|prices?|supported|supports?|how\s+to"
    r"|можно\s+ли\s+(?:объедин\w+|смеш\w+|совме\w+)|объедин\w+|умнее|поддержива\w+|стоит|стоимость|цен[аы]"
    r"|почему|зачем|чем|отлич\w+|разниц\w+|как\s+работа\w+|для\s+чего|нужен\s+ли|нужна\s+ли|нужно\s+ли|откуда|какой|какую)\b",
    re.IGNORECASE,
)
_MAX_QUESTION = 300
"""Characters of the longest question on a term; a longer message is a story, a log or a paste."""


def asks_what_is(text: str) -> bool:
    """Tell whether a message asks what a thing is: "what is AWQ?", "а что такое MLA"."""
    return len(text) <= _MAX_QUESTION and bool(_DEFINES.search(text))


def asks_to_explain(text: str) -> bool:
    """Tell whether a message may ask for an explanation: what a thing is, why it is so, how it differs."""
    return len(text) <= _MAX_QUESTION and bool(_DEFINES.search(text) or _REASONS.search(text))
