"""Which events a route wants."""

import pytest

from routes.matching import as_events, matches

from .samples import payload_of

MERGE_REQUEST = payload_of("gitlab/merge_request__open")
HOOK = {"x-gitlab-event": "Merge Request Hook"}


@pytest.mark.parametrize(
    ("events", "event", "headers", "payload", "expected"),
    [
        ([], "push", {}, {}, True),
        (["push"], "push", {}, {}, True),
        (["push"], "pus", {}, {}, False),
        (["Push"], "push", {}, {}, False),
        (["issues"], "pull_request", {}, {"action": "opened"}, False),
        (["issues"], "issues", {}, {"action": "opened"}, True),
        (["issues.opened"], "issues", {}, {"action": "opened"}, True),
        (["issues.opened"], "issues", {}, {"action": "closed"}, False),
        (["issues.opened"], "issues", {}, {"action": ["opened"]}, False),
        (["issues.opened"], "issues", {}, [], False),
        (["merge_request"], "merge_request", HOOK, MERGE_REQUEST, True),
        (["Merge Request Hook"], "merge_request", HOOK, MERGE_REQUEST, True),
        (["Merge Request Hook"], "merge_request", HOOK, None, True),
        (["merge_request.open"], "merge_request", HOOK, MERGE_REQUEST, True),
        (["merge_request.close"], "merge_request", HOOK, MERGE_REQUEST, False),
        (["Push Hook"], "merge_request", HOOK, MERGE_REQUEST, False),
        (
            ["confidential_issue"],
            "issue",
            {"x-gitlab-event": "Confidential Issue Hook"},
            {"object_kind": "issue", "event_type": "confidential_issue"},
            True,
        ),
        # Elsewhere event_type is one of the places of the name, not a second name.
        (["b"], "a", {"x-github-event": "a"}, {"event_type": "b"}, False),
        (["push"], "unknown", {}, "push", False),
    ],
)
def test_both_spellings_match_and_nothing_else(
    events: list[str], event: str, headers: dict[str, str], payload: object, expected: bool
) -> None:
    assert matches(as_events(events), event, headers, payload) is expected


@pytest.mark.parametrize(
    ("configured", "events"),
    [
        ("push", {"push"}),
        (["push", " issues ", ""], {"push", "issues"}),
        ([1, None, "push"], {"push"}),
        ("", set()),
        (None, set()),
        (7, set()),
    ],
)
def test_a_text_instead_of_a_list_is_one_event(configured: object, events: set[str]) -> None:
    assert as_events(configured) == events
