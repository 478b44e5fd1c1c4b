from typing import Any

import orjson
import pytest

from deliveries.outbound import Reply
from deliveries.outcomes import Verdict
from platforms.coded import meaning_in, read
from platforms.replies import (
    BAD_REPLY,
    FORBIDDEN,
    NOT_FOUND,
    REFUSED,
    SERVER_ERROR,
    Meaning,
)

GONE = Meaning(Verdict.FAILED, "gone")


def reply(status: int, document: Any) -> Reply:
    return Reply(status, {}, orjson.dumps(document), truncated=False, elapsed_ms=1)


@pytest.mark.parametrize(
    ("document", "code", "words"),
    [
        ({"code": 7, "msg": "no"}, 7, "7 no"),
        ({"errcode": -1}, -1, "-1"),
        ({"code": "7", "errcode": 8, "msg": "no"}, 8, "8 no"),
        ({"code": True, "msg": "no"}, None, "no"),
        ({"code": 7.0}, None, ""),
        ({"code": 0, "errcode": 8}, 0, "0"),
        ({"msg": ["a"]}, None, "['a']"),
        ([], None, ""),
        ("x", None, ""),
    ],
)
def test_the_first_field_that_is_a_number_is_the_code(
    document: Any, code: int | None, words: str
) -> None:
    answer = read(reply(200, document), ("code", "errcode"), ("msg",))
    assert (answer.code, answer.words) == (code, words)


@pytest.mark.parametrize(
    ("status", "document", "ok"),
    [
        (200, {"code": 0}, True),
        (200, {"code": 1}, False),
        (201, {"code": 0}, False),
        (200, {}, False),
    ],
)
def test_a_success_is_200_and_0(status: int, document: Any, ok: bool) -> None:
    assert read(reply(status, document), ("code",), ("msg",)).ok == ok


@pytest.mark.parametrize(
    ("status", "document", "meaning"),
    [
        (200, {"code": 7}, GONE),
        (500, {"code": 7}, GONE),
        (200, {"code": 9}, REFUSED),
        (200, {}, BAD_REPLY),
        (200, {"code": 0}, BAD_REPLY),
        (403, {"code": 9}, FORBIDDEN),
        (404, {}, NOT_FOUND),
        (500, {"code": 9}, SERVER_ERROR),
    ],
)
def test_the_table_goes_before_the_status(status: int, document: Any, meaning: Meaning) -> None:
    assert meaning_in({7: GONE}, read(reply(status, document), ("code",), ("msg",))) == meaning
