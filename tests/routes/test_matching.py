"""Which events a route wants."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    ("events", "event", "payload", "expected"),
    [
        # Stripe, Bitbucket, Shopify, Jira
        (["invoice.*"], "invoice.paid", {}, True),
        (["invoice.*"], "invoiceitem.created", {}, False),
        (["invoice.*"], "invoice", {}, False),
        (["customer.subscription.*"], "customer.subscription.deleted", {}, True),
        (["repo:push"], "repo:push", {}, True),
        (["repo:*"], "repo:push", {}, True),
        (["orders/*"], "orders/create", {}, True),
        (["jira:issue_*"], "jira:issue_updated", {}, True),
        (["*"], "anything", {}, True),
        # an ending may be an action
        (["issues.*"], "issues", {"action": "opened"}, True),
        (["issues.*"], "issues", {}, False),
        (["pull_request.review_*"], "pull_request", {"action": "review_requested"}, True),
        # elsewhere than at the end it is itself
        (["*.paid"], "invoice.paid", {}, False),
        (["push", "invoice.*"], "charge.failed", {}, False),
    ],
)
def test_a_star_at_the_end_is_any_ending(
    events: list[str], event: str, payload: object, expected: bool
) -> None:
    assert matches(as_events(events), event, {}, payload) is expected


@pytest.mark.parametrize(
    ("events", "event", "payload"),
    [
        # SendGrid, HubSpot, Azure Event Grid: the body is a list
        (["bounce"], "delivered", [{"event": "delivered"}, {"event": "bounce"}]),
        (["contact.deletion"], "contact.creation", [{"subscriptionType": "contact.deletion"}]),
        (["Microsoft.Storage.*"], "x", [{"eventType": "Microsoft.Storage.BlobCreated"}]),
        # Microsoft Graph, Meta, Asana: the body has one
        (["deleted"], "created", {"value": [{"changeType": "created"}, {"changeType": "deleted"}]}),
        (
            ["messages"],
            "statuses",
            {"entry": [{"changes": [{"field": "statuses"}, {"field": "messages"}]}]},
        ),
        (
            ["task.deleted"],
            "task.added",
            {"events": [{"resource": {"resource_type": "task"}, "action": "deleted"}]},
        ),
    ],
)
def test_a_batch_matches_by_any_of_its_events(
    events: list[str], event: str, payload: object
) -> None:
    assert matches(as_events(events), event, {}, payload)
    assert not matches(as_events(["other"]), event, {}, payload)


@pytest.mark.parametrize(
    ("headers", "payload", "name"),
    [
        ({"x-forgejo-event-type": "pull_request_sync"}, {}, "pull_request_sync"),
        ({"x-gitea-event-type": "issue_label"}, {}, "issue_label"),
        ({"x-gitlab-event": "System Hook"}, {"event_name": "project_create"}, "project_create"),
    ],
)
def test_a_second_name_of_the_source_matches(
    headers: dict[str, str], payload: object, name: str
) -> None:
    assert matches(as_events([name]), "event", headers, payload)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.text() | st.sampled_from(["events", "value", "entry", "changes", "action"]), inner
        )
    ),
)


@given(payload=JSON, event=st.text(), headers=st.dictionaries(st.text(), st.text()))
def test_no_payload_breaks_it(payload: object, event: str, headers: dict[str, str]) -> None:
    assert matches(frozenset(), event, headers, payload)
    assert matches(frozenset({"*"}), event, headers, payload)
    assert not matches(frozenset({"\0no such event"}), event, headers, payload)


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
