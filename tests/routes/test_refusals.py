"""What is kept of requests that were turned away, and how little that is."""

import logging

import pytest

from routes import refusals
from routes.models import Refusal

from .test_hostile import ask, make_route

pytestmark = pytest.mark.django_db

SECRET = "a-secret-of-the-route"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    refusals._flush()


def note(
    route: str = "github-pr",
    reason: str = "bad_signature",
    headers: dict[str, str] | None = None,
    body: bytes = b"",
    explanation: str = "It was made with another secret.",
    masked: tuple[str, ...] = (),
) -> Refusal:
    """Note a refusal, write it, and return the row."""
    refusals.note(
        route, 401, reason, explanation, headers or {}, body, "192.0.2.1", [SECRET], masked
    )
    refusals._flush()
    return Refusal.objects.latest("pk")


def test_each_route_keeps_its_newest(settings) -> None:
    settings.REFUSALS_PER_ROUTE = 3
    other = note("other")
    rows = [note() for _ in range(5)]
    kept = set(Refusal.objects.values_list("pk", flat=True))
    assert kept == {other.pk, *(row.pk for row in rows[-3:])}


def test_all_names_that_no_route_has_share_one_bucket(settings) -> None:
    settings.REFUSALS_PER_ROUTE = 3
    mine = note()
    for number in range(20):
        note(f"invented-{number}", refusals.UNKNOWN_ROUTE)
    assert Refusal.objects.filter(reason=refusals.UNKNOWN_ROUTE).count() == 3
    assert Refusal.objects.filter(pk=mine.pk).exists()


def test_of_all_routes_together_the_newest_are_kept(settings, monkeypatch) -> None:
    settings.REFUSALS_PER_ROUTE = 3
    monkeypatch.setattr(refusals, "ROWS", 10)
    rows = [note(f"route-{number}") for number in range(15)]
    kept = set(Refusal.objects.values_list("pk", flat=True))
    assert kept == {row.pk for row in rows[-10:]}


@pytest.mark.parametrize("headers", [
    {f"x-{number}": "v" * 2000 for number in range(200)},
    {f"x-{number}": "" for number in range(1000)},
    {f"x-{number}": "漢" * 400 for number in range(50)},
    {"x" * 5000: "v" * 5000},
])  # fmt: skip
def test_headers_are_bounded_in_number_and_in_bytes(headers: dict[str, str]) -> None:
    kept = note(headers=headers).headers
    assert len(kept) <= refusals.HEADERS
    size = sum(len(name.encode()) + len(value.encode()) for name, value in kept.items())
    assert size <= refusals.HEADERS_LIMIT + 100


def test_headers_that_are_left_out_are_counted() -> None:
    kept = note(headers={f"x-{number}": "v" for number in range(100)}).headers
    assert kept["…"] == "61 more were left out"


def test_an_explanation_is_bounded() -> None:
    assert len(note(explanation="x" * 100_000).explanation) == refusals.EXPLANATION_LIMIT


def test_the_headers_of_every_source_are_masked() -> None:
    sent = dict.fromkeys(refusals._credential_headers(), "what-was-sent")
    for start in range(0, len(sent), 30):
        some = dict(list(sent.items())[start : start + 30])
        kept = note(headers=some).headers
        assert kept.keys() == some.keys()
        assert "what-was-sent" not in kept.values()


def test_the_headers_of_a_scheme_of_ones_own_are_masked_when_named() -> None:
    sent = {"x-acme-key-id": "nearly-the-right-one", "x-other": "plain"}
    kept = note(headers=sent, masked=("x-acme-key-id",)).headers
    assert kept == {"x-acme-key-id": "***", "x-other": "plain"}


def test_a_route_names_the_headers_of_its_own_scheme() -> None:
    made = make_route(preset="custom", custom_scheme={"scheme": "token", "header": "X-Acme-Key-Id"})
    assert ask(b"{}", {"x-acme-key-id": "nearly-the-right-one", "x-other": "plain"}).status == 401
    kept = Refusal.objects.get(route=made.name).headers
    assert kept == {"x-acme-key-id": "***", "x-other": "plain"}


@pytest.mark.parametrize("preset", ["feishu_token", "microsoft_graph"])
def test_a_body_that_carries_the_secret_itself_is_not_kept(preset: str) -> None:
    make_route(preset=preset)
    body = b'{"token": "the-senders", "value": [{"clientState": "the-senders"}]}'
    assert ask(body, {}).status == 401
    assert bytes(Refusal.objects.get().body) == b""


def test_an_empty_signature_is_shown_to_be_empty() -> None:
    assert note(headers={"x-acme": ""}, masked=("x-acme",)).headers == {"x-acme": ""}


def test_the_secret_is_taken_out_everywhere() -> None:
    row = note(headers={"x-a": SECRET}, body=SECRET.encode(), explanation=f"not {SECRET}")
    kept = f"{row.headers} {bytes(row.body)!r} {row.explanation}"
    assert SECRET not in kept
