"""What an examination comes to."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is; only ``fail`` lets ``manage.py doctor`` end with 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """How one thing is: a sentence, and unless it is well, the way out."""

    area: str
    level: Level
    said: str
    way_out: str = ""


#: What one line of an examination says: how it is, a sentence, the way out.
Line = tuple[Level, str, str]
Lines = Iterator[Line]
