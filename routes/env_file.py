"""The .env of a Hermes home: names and values as hermes-agent reads them."""

import re
from collections.abc import Mapping
from typing import Final

_LINE: Final = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*?)\s*")
_DOUBLE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_SINGLE: Final = re.compile(r"'([^']*)'\s*(?:#.*)?")
_COMMENT: Final = re.compile(r"(?:^|\s+)#.*")
_ESCAPED: Final = re.compile(r"\\(.)")
_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}
# ${NAME}, as hermes-agent writes it in config.yaml for what stands in the environment.
_REFERENCE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def parse_env(text: str) -> dict[str, str]:
    """Return the variables of a .env file; what is no assignment is passed over.

    ``export`` before a name, quotes around a value and a comment behind it are no part of it. Of
    a name given twice the last counts.
    """
    found = {}
    for line in text.removeprefix("\ufeff").splitlines():
        match = _LINE.fullmatch(line)
        if match:
            found[match[1]] = _value(match[2])
    return found


def references(text: str) -> set[str]:
    """Return the names that a text refers to as ``${NAME}``."""
    return set(_REFERENCE.findall(text))


def resolved(text: str, variables: Mapping[str, str]) -> str:
    """Return the text with every ``${NAME}`` replaced; raise KeyError for one that is not there."""
    return _REFERENCE.sub(lambda match: variables[match[1]], text)


def _value(text: str) -> str:
    if match := _DOUBLE.fullmatch(text):
        return _ESCAPED.sub(lambda escaped: _ESCAPES.get(escaped[1], escaped[1]), match[1])
    if match := _SINGLE.fullmatch(text):
        return match[1]
    return _COMMENT.sub("", text)
