"""What is likely wrong with a template."""

import pytest

from routes.lint import missing_placeholders, misspellings, suggestion
from routes.templating import compile_template

PAYLOADS = [
    {"title": "x", "user": {"login": "a"}},
    {"title": None, "user": {}},
    {"title": "", "user": {"login": "b"}},
    {"user": {"login": "c"}, "issue": {"number": 1}},
]


def missing(template: str, payloads: list[object] | None = None) -> dict[str, float]:
    template_ = compile_template(template)
    return dict(missing_placeholders(template_, PAYLOADS if payloads is None else payloads))


def test_what_some_events_lacked_is_named_with_its_share() -> None:
    assert missing("{issue.number} {title} {user.login} {user}") == {
        "issue.number": 0.75,
        "title": 0.25,
        "user.login": 0.25,
    }


def test_they_come_in_the_order_of_the_template_and_once() -> None:
    assert list(missing("{z} {a} {z}")) == ["z", "a"]


def test_what_is_always_there_is_never_missing() -> None:
    assert missing("{__raw__} {event_type}", [None, "text"]) == {}


def test_without_events_nothing_is_known() -> None:
    assert missing("{title}", []) == {}


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("payload", "__raw__"),
        ("body", "__raw__"),
        ("event", "event_type"),
        ("payload.title", "title"),
        ("body.issue.number", "issue.number"),
        ("titel", "title"),
        ("user.logn", "user.login"),
        ("isue.number", "issue.number"),
        ("isue.nothing", None),
        ("payload.nothing", None),
        ("title.x", None),
        ("qqq", None),
    ],
)
def test_a_likely_meaning_is_suggested(name: str, meant: str | None) -> None:
    assert suggestion(name, PAYLOADS) == meant


def test_no_suggestion_needs_another_language() -> None:
    assert suggestion("tytle", [{"ti-tle": 1}]) is None


@pytest.mark.parametrize(
    ("text", "hints"),
    [
        ("{ title }", {"{ title }": "{title}"}),
        ("{{title}}", {"{{title}}": "{title}"}),
        ("{{ a.b }}", {"{{ a.b }}": "{a.b}"}),
        ("{alerts[0].labels}", {"{alerts[0].labels}": "{alerts.0.labels}"}),
        ("{a['b'][\"c\"]}", {"{a['b'][\"c\"]}": "{a.b.c}"}),
        ("{$.title}", {"{$.title}": "{title}"}),
        ("${title}", {}),
        ("{content-type}", {"{content-type}": ""}),
        ("{标题}", {"{标题}": ""}),
        # what is right, or is not meant as one
        ("{title} {a.0.b} {__raw__}", {}),
        ('Answer as {"verdict": "ok", "items": [1]}', {}),
        ('{"a": {b}}', {}),
        ("{} { } {see below}", {}),
        ("if (x) { return; }", {}),
    ],
)
def test_what_looks_like_a_placeholder_and_is_none_is_spelled(
    text: str, hints: dict[str, str]
) -> None:
    assert misspellings(text) == hints
