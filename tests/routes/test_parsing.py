"""Bodies: JSON in every encoding, forms, and what is neither."""

import contextlib
import json
import math
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.parsing import MAX_FORM_FIELDS, Unparseable, parse_body

from .samples import body_of, payload_of

FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_json_is_read_in_every_encoding(encoding: str) -> None:
    assert parse_body('{"名": "值"}'.encode(encoding), "application/json") == {"名": "值"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"[1, 2]", [1, 2]),
        (b'"text"', "text"),
        (b"7", 7),
        (b"null", None),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b' {"a": 1}\n', {"a": 1}),
    ],
)
def test_any_json_value_is_data(body: bytes, expected: object) -> None:
    assert parse_body(body, "application/json") == expected


@pytest.mark.parametrize("number", [10**30 + 1, 2**64, 2**64 - 1, -(2**63) - 1, 10**18 + 1])
def test_big_integers_stay_exact(number: int) -> None:
    assert parse_body(b'{"id": %d}' % number) == {"id": number}


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_every_value_is_read_as_the_standard_library_reads_it(value: object) -> None:
    text = json.dumps(value)
    # Compared as text, which tells 1 from 1.0 and finds NaN equal to itself.
    assert json.dumps(parse_body(text.encode())) == json.dumps(json.loads(text))


def test_nan_is_accepted() -> None:
    found = parse_body(b'{"a": NaN}')
    assert isinstance(found, dict)
    assert math.isnan(found["a"])


@pytest.mark.parametrize("content_type", ["", "text/plain", FORM, "application/octet-stream"])
def test_json_is_read_whatever_the_content_type(content_type: str) -> None:
    assert parse_body(b'{"a": 1}', content_type) == {"a": 1}


@pytest.mark.parametrize("content_type", ["", "text/plain", FORM, f"{FORM}; charset=utf-8"])
def test_a_form_is_a_flat_object(content_type: str) -> None:
    body = b"a=1&b=%E5%80%BC&a=2&empty="
    assert parse_body(body, content_type) == {"a": "2", "b": "值", "empty": ""}


@pytest.mark.parametrize("value", [{"a": 1}, [1], {}])
def test_github_form_is_unwrapped(value: object) -> None:
    assert parse_body(urlencode({"payload": json.dumps(value)}).encode(), FORM) == value


def test_a_pull_request_sent_as_a_form_is_the_same_pull_request() -> None:
    body = urlencode({"payload": body_of("github/pull_request__opened")}).encode()
    assert parse_body(body, FORM) == payload_of("github/pull_request__opened")


@pytest.mark.parametrize("value", ["{bad", "text", "5"])
def test_a_payload_field_that_is_no_json_stays_a_field(value: str) -> None:
    assert parse_body(urlencode({"payload": value}).encode(), FORM) == {"payload": value}


def test_a_payload_field_among_others_stays_a_field() -> None:
    assert parse_body(b"payload=%7B%7D&other=1", FORM) == {"payload": "{}", "other": "1"}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "application/json"),
        (b" \r\n", ""),
        (b"{bad json", "application/json"),
        (b'{"url": "https://a.example/?b=c', ""),  # cut off, and with an = in it
        (b'["a=b"', "text/plain"),
        (b"a=b", "application/json"),
        (b"a=b", "application/cloudevents+json; charset=utf-8"),
        (b"hello", "text/plain"),
        (b"hello", FORM),
        (b"a=1&b", FORM),
        (b"\xff\xfe=\xff", FORM),
        (b"a=%FF", FORM),
        (b'{"a": "\xff"}', "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"a":' * 100_000, ""),
        (b"1" * 5000, "application/json"),
        (b"&".join([b"a=1"] * (MAX_FORM_FIELDS + 1)), FORM),
        (b"\0", ""),
    ],
)
def test_what_is_neither_json_nor_a_form_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(Unparseable):
        parse_body(body, content_type)


@given(body=st.binary(max_size=200), content_type=st.sampled_from(["", FORM, "application/json"]))
def test_no_body_breaks_the_parser(body: bytes, content_type: str) -> None:
    with contextlib.suppress(Unparseable):
        parse_body(body, content_type)
