"""What of a model's text is its answer: not its reasoning, and not its wish to stay silent."""

import re
import unicodedata

# facts/hermes-agent.md §8: a reply that is only this is not delivered.
SILENCE = frozenset({"[SILENT]", "SILENT", "NO_REPLY", "NO REPLY"})
SILENCE_LIMIT = 64  # characters; a marker is short

# At the beginning of the text. Where the prompt's template opens it, only the end is there, on a
# line of its own.
_THOUGHT = re.compile(r"\A\s*<(think|thinking|thought|reasoning)>.*?(</\1>|\Z)", re.DOTALL)
_REST_OF_THOUGHT = re.compile(r"\A(?:(?!<think).)*?^[ \t]*</(think|thinking)>[ \t]*$", re.S | re.M)


def without_reasoning(text: str) -> str:
    """Return a text without the reasoning that some models put before their answer."""
    for pattern in (_THOUGHT, _REST_OF_THOUGHT):
        text = pattern.sub("", text, count=1)
    return text.strip()


def is_silence(text: str) -> bool:
    """Return whether a text says that nothing is to be said.

    It does when it is a marker and nothing else, or when a marker stands alone on its first or
    its last line. Punctuation around a marker is tolerated, half a bracket is not.
    """
    lines = text.strip().splitlines()
    return bool(lines) and any(_is_marker(line) for line in (text, lines[0], lines[-1]))


def _is_marker(text: str) -> bool:
    text = text.strip()
    if len(text) > SILENCE_LIMIT:
        return False
    return any(" ".join(candidate.upper().split()) in SILENCE for candidate in (text, _bared(text)))


def _bared(text: str) -> str:
    """Return a text without punctuation at its edges; brackets are part of a marker."""
    start, end = 0, len(text)
    while start < end and _is_stray(text[start]):
        start += 1
    while end > start and _is_stray(text[end - 1]):
        end -= 1
    return text[start:end].strip()


def _is_stray(character: str) -> bool:
    return character not in "[]" and unicodedata.category(character).startswith("P")
