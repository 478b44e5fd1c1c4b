"""The workbench without its page: what a route would make of an event."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routes.models import Route
from routes.presets import presets
from routes.workbench import Draft, Given, Trial, difference, lint, try_out

BODY = {"action": "opened", "number": 42, "repository": {"full_name": "acme/site"}, "chat": ""}
LIMIT = 10_000


def a_route(**fields: Any) -> Route:
    return Route(**({"name": "github-pr", "preset": "github"} | fields))


def tried(route: Route, body: Any = BODY, event: str = "pull_request", **headers: str) -> Trial:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return try_out(
        route, Draft.of(route), Given(shown, raw, event), presets().get(route.preset), LIMIT
    )


def says(trial: Trial, name: str) -> str:
    return next(step.says for step in trial.steps if str(step.name) == name)


def test_an_event_that_meets_everything_goes_out() -> None:
    trial = tried(a_route(prompt="PR #{number}", events=["pull_request"]))
    assert trial.stopped_by is None
    assert trial.prompt == "PR #42"


def test_the_fence_is_there_as_the_route_has_it() -> None:
    fenced = tried(a_route(prompt="In {repository.full_name}"))
    assert fenced.fenced
    assert "⟦acme/site⟧" in str(fenced.prompt)
    plain = tried(a_route(prompt="In {repository.full_name}", fence=False))
    assert (plain.fenced, plain.prompt) == (False, "In acme/site")
    direct = tried(a_route(prompt="In {repository.full_name}", deliver_only=True))
    assert (direct.fenced, direct.prompt) == (False, "In acme/site")


def test_a_body_over_the_limit_is_stopped_by_its_size() -> None:
    trial = tried(a_route(), b'"' + b"x" * LIMIT + b'"')
    assert trial.stopped_by is not None
    assert trial.stopped_by.says.startswith("413:")


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"\x00"])
def test_a_body_that_can_not_be_read_ends_the_trial(body: bytes) -> None:
    trial = tried(a_route(), body)
    assert trial.prompt is None
    assert trial.stopped_by is not None
    assert trial.stopped_by.says.startswith(("400:", "413:"))


def test_the_event_is_read_from_the_request_where_it_is_not_known() -> None:
    trial = tried(a_route(), event="", x_github_event="issues")
    assert says(trial, "Event") == "issues"


def test_a_route_that_recognises_its_sender_does_so_here_too() -> None:
    trial = tried(
        a_route(preset="auto"), event="", x_github_event="push", x_hub_signature_256="sha256=00"
    )
    assert says(trial, "Event") == "push"
    assert "GitHub" in str(trial.prompt)


def test_an_event_that_the_route_does_not_list_is_stopped() -> None:
    trial = tried(a_route(events=["push"]))
    assert trial.stopped_by is not None
    assert str(trial.stopped_by.name) == "Events of the route"


def test_a_greeting_is_stopped() -> None:
    assert tried(a_route(), event="ping").stopped_by is not None
    assert tried(a_route(events=["ping"]), event="ping").stopped_by is None


def test_a_set_up_request_wakes_nobody() -> None:
    body = {"type": "url_verification", "challenge": "3eZbrw1aB"}
    trial = tried(a_route(preset="slack"), body, event="")
    assert trial.stopped_by is not None
    assert "set-up request" in trial.stopped_by.says


def test_a_filter_says_which_condition_failed_and_the_prompt_is_shown_all_the_same() -> None:
    filters = [
        {"field": "number", "exists": True},
        {"any": [{"field": "action", "equals": "closed"}]},
    ]
    trial = tried(a_route(prompt="PR #{number}", filters=filters))
    assert trial.stopped_by is not None
    assert "filters[1].any[0]" in trial.stopped_by.says
    assert "opened" in trial.stopped_by.says
    assert trial.prompt == "PR #42"


def test_filters_that_are_broken_in_the_row_are_named_with_their_path() -> None:
    trial = tried(a_route(filters=[{"field": "a", "regex": "("}]))
    assert trial.stopped_by is not None
    assert trial.stopped_by.says.startswith("filters[0].regex:")


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("{repository.full_name}#{number}", "acme/site#42"),
        ("{nothing}", "one of its own: the key lacks a field."),
        ("", "one of its own"),
    ],
)
def test_the_conversation_is_named_by_its_key(key: str, said: str) -> None:
    assert says(tried(a_route(conversation_key=key)), "Conversation") == said


def test_the_coalescing_key_is_shown_with_its_wait() -> None:
    trial = tried(a_route(coalesce={"key": "number", "window_seconds": 45}))
    assert says(trial, "Coalescing") == "waits 45 s for a newer one of 42"
    trial = tried(a_route(coalesce={"key": "{gone}"}))
    assert says(trial, "Coalescing").startswith("sent at once")


def test_targets_are_shown_as_resolved_and_what_is_not_falls_back_to_home() -> None:
    route = a_route(
        deliver="team-chat",
        deliver_extra={"chat_id": "{chat}", "thread": "{number}", "silent": True},
        fan_out=[{"deliver": "log", "deliver_extra": {}}],
    )
    first, second = tried(route).places
    values = {value.name: value.resolved for value in first.values}
    assert values == {"chat_id": None, "thread": "42", "silent": "true"}
    assert (second.deliver, second.values) == ("log", [])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    ),
    st.text(max_size=60),
)
@settings(max_examples=60, deadline=None)
def test_no_payload_and_no_template_makes_it_raise(payload: Any, prompt: str) -> None:
    route = a_route(
        prompt=prompt + "{a.b}{__raw__}", conversation_key="{a}", coalesce={"key": "{a.b}"},
        filters=[{"field": "a.0", "contains": "x"}], deliver_extra={"chat_id": "{a}"},
    )  # fmt: skip
    assert isinstance(tried(route, payload, event=""), Trial)


def test_a_difference_shows_what_changed_with_its_surroundings() -> None:
    before = "\n".join("abcdefghijkl")
    lines = difference(before, before.replace("b", "B").replace("l", "L"))
    shown = "".join(line.sign.strip() + line.text for line in lines)
    assert shown == "a-b+Bcde…ijk-l+L"


def test_equal_texts_have_no_difference() -> None:
    assert difference("a\nb", "a\nb") == []


def test_a_huge_difference_is_cut() -> None:
    lines = difference("\n".join("ab" * 5000), "\n".join("cd" * 5000))
    assert len(lines) <= 201
    assert lines[-1].sign == "…"


def test_lint_counts_what_real_events_lacked_and_guesses_what_was_meant() -> None:
    found = lint("{titel} {number}", [{"title": "x", "number": 1}, {"title": "y"}])
    assert [(lack.name, lack.count, lack.meant) for lack in found] == [
        ("titel", 2, "title"),
        ("number", 1, None),
    ]
