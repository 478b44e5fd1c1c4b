"""Bodies: JSON in every encoding, forms, and what is neither."""

import contextlib
import gzip
import json
import math
import tracemalloc
import zlib
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.parsing import MAX_FORM_FIELDS, TooLong, Unparseable, inflate, parse_body, parse_xml

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


class TestXml:
    def test_elements_are_keys_and_texts_are_values(self) -> None:
        body = "<xml><ToUser><![CDATA[名]]></ToUser><A><B>1</B><B>2</B></A><C/></xml>"
        assert parse_xml(body.encode()) == {"ToUser": "名", "A": {"B": ["1", "2"]}, "C": ""}

    def test_it_is_read_only_where_it_is_expected(self) -> None:
        assert parse_body(b" <xml><a>1</a></xml>", "text/xml", xml=True) == {"a": "1"}
        assert parse_body(b'{"a": 1}', "text/xml", xml=True) == {"a": 1}
        with pytest.raises(Unparseable):
            parse_body(b"<xml><a>1</a></xml>", "text/xml")

    def test_an_element_without_others_says_nothing(self) -> None:
        assert parse_xml(b"<xml>text</xml>") == {}

    @pytest.mark.parametrize(
        "body",
        [
            b"<",
            b"<xml>",
            b"<xml></yml>",
            b"<xml>\xff</xml>",
            b"<?xml version='1.0' encoding='nothing-known'?><xml/>",
            b"<!DOCTYPE x [<!ENTITY a 'b'>]><xml>&a;</xml>",
            b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><xml/>",
            b"<xml>&nbsp;</xml>",
            b"<a>" * 40 + b"</a>" * 40,
            b"<a>" * 50_000 + b"</a>" * 50_000,
        ],
    )
    def test_what_is_broken_or_dangerous_is_refused(self, body: bytes) -> None:
        with pytest.raises(Unparseable):
            parse_xml(body)

    @given(body=st.binary(max_size=60))
    def test_no_body_breaks_it(self, body: bytes) -> None:
        for whole in (b"<" + body, b"<xml>" + body + b"</xml>"):
            with contextlib.suppress(Unparseable):
                parse_body(whole, xml=True)


LIMIT = 1000


def raw_deflate(body: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()


class TestInflate:
    @pytest.mark.parametrize("encoding", ["", "identity", " Identity "])
    def test_a_plain_body_is_left_as_it_is(self, encoding: str) -> None:
        body = gzip.compress(b"abc")
        assert inflate(body, encoding, 1) is body

    @pytest.mark.parametrize("body", [b"", b"abc", b"x" * LIMIT])
    def test_every_wrapping_is_undone(self, body: bytes) -> None:
        assert inflate(gzip.compress(body), "gzip", LIMIT) == body
        assert inflate(gzip.compress(body), "X-GZIP", LIMIT) == body
        assert inflate(zlib.compress(body), "deflate", LIMIT) == body
        assert inflate(raw_deflate(body), "deflate", LIMIT) == body

    def test_several_members_are_one_body(self) -> None:
        assert inflate(gzip.compress(b"ab") + gzip.compress(b"c"), "gzip", LIMIT) == b"abc"

    @pytest.mark.parametrize("size", [LIMIT + 1, 10**8])
    def test_one_byte_more_than_allowed_is_too_long(self, size: int) -> None:
        bomb = gzip.compress(b"\0" * size)
        with pytest.raises(TooLong):
            inflate(bomb, "gzip", LIMIT)
        with pytest.raises(TooLong):
            inflate(gzip.compress(b"x" * LIMIT) + gzip.compress(b"x"), "gzip", LIMIT)

    def test_a_bomb_is_never_unpacked(self) -> None:
        bomb = gzip.compress(b"\0" * 10**8)
        tracemalloc.start()
        with pytest.raises(TooLong):
            inflate(bomb, "gzip", LIMIT)
        _now, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10**6

    @pytest.mark.parametrize(
        ("body", "encoding"),
        [
            (b"", "gzip"),
            (b"", "deflate"),
            (b"plain", "gzip"),
            (b"plain", "deflate"),
            (gzip.compress(b"abc")[:-1], "gzip"),
            (gzip.compress(b"abc") + b"more", "gzip"),
            (gzip.compress(b"") * 9, "gzip"),
            (zlib.compress(b"abc") + b"x", "deflate"),
            (zlib.compress(b"abc"), "gzip"),
            (gzip.compress(b"abc"), "br"),
            (gzip.compress(gzip.compress(b"abc")), "gzip, gzip"),
            (gzip.compress(b"abc"), "gz\xffip"),
        ],
    )
    def test_what_is_damaged_or_unknown_is_refused(self, body: bytes, encoding: str) -> None:
        with pytest.raises(Unparseable) as caught:
            inflate(body, encoding, LIMIT)
        assert not isinstance(caught.value, TooLong)

    @given(body=st.binary(max_size=80), encoding=st.sampled_from(["gzip", "deflate"]))
    def test_no_body_breaks_it(self, body: bytes, encoding: str) -> None:
        with contextlib.suppress(Unparseable):
            assert len(inflate(body, encoding, 20)) <= 20
