"""What a request says of itself: its source, its event, its id."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from routes.presets import delivery_id, detect, event_type, presets
from routes.presets.reading import MAX_EVENT_CHARACTERS, MAX_ID_CHARACTERS

from .samples import payload_of

PULL_REQUEST = "github/pull_request__opened"
MERGE_REQUEST = "gitlab/merge_request__open"
MERGE_REQUEST_HOOK = {"x-gitlab-event": "Merge Request Hook"}
KEYS = st.sampled_from(["type", "event_type", "object_kind", "id"]) | st.text()

GITHUB, GITLAB, GITLAB_SIGNED, V1, V2 = (
    presets()[name] for name in ("github", "gitlab", "gitlab_signed", "generic", "generic_v2")
)


class TestDetect:
    @pytest.mark.parametrize(
        ("names", "expected"),
        [
            (["x-hub-signature-256"], "github"),
            (["x-gitlab-token"], "gitlab"),
            (["webhook-signature", "x-gitlab-event"], "gitlab_signed"),
            (["webhook-signature", "x-gitlab-event", "x-gitlab-token"], "gitlab_signed"),
            (["x-webhook-signature"], "generic"),
            (["x-webhook-signature-v2"], "generic_v2"),
            (["x-webhook-signature", "x-webhook-signature-v2"], "generic_v2"),
            (["x-webhook-signature", "x-hub-signature-256"], "github"),
            (["x-webhook-signature", "x-gitlab-token"], "gitlab"),
            (["x-gitlab-token", "x-hub-signature-256"], "github"),
            # GitLab always sends these two; they alone sign nothing.
            (["webhook-id", "webhook-timestamp", "x-gitlab-event", "x-gitlab-token"], "gitlab"),
        ],
    )
    def test_the_first_scheme_present_commits(self, names: list[str], expected: str) -> None:
        found = detect(dict.fromkeys(names, "x"))
        assert found is not None
        assert found.name == expected

    @pytest.mark.parametrize(
        "headers",
        [
            {},
            {"x-hub-signature-256": ""},
            {"x-github-event": "push"},
            {"authorization": "x"},
            # Recognised by nothing but the secret, which is not in the headers.
            {"x-signature-ed25519": "x", "x-signature-timestamp": "1"},
        ],
    )
    def test_no_signature_is_no_source(self, headers: dict[str, str]) -> None:
        assert detect(headers) is None

    def test_an_empty_header_counts_as_absent(self) -> None:
        assert detect({"x-webhook-signature-v2": "", "x-webhook-signature": "x"}) == V1


class TestEventType:
    @pytest.mark.parametrize(
        ("preset", "headers", "sample", "expected"),
        [
            (GITHUB, {"x-github-event": "pull_request"}, PULL_REQUEST, "pull_request"),
            (GITHUB, {"x-github-event": "push"}, "github/push", "push"),
            (GITLAB, MERGE_REQUEST_HOOK, MERGE_REQUEST, "merge_request"),
            (GITLAB, {"x-gitlab-event": "Push Hook"}, "gitlab/push", "push"),
            (GITLAB, {"x-gitlab-event": "System Hook"}, "gitlab/push", "push"),
            (GITLAB_SIGNED, {"x-gitlab-event": "Push Hook"}, "gitlab/push", "push"),
            (V1, {}, "generic/alert__firing", "alert"),
            # Unsigned and generically signed requests are named by the same headers.
            (None, {"x-github-event": "push"}, "github/push", "push"),
            (None, MERGE_REQUEST_HOOK, MERGE_REQUEST, "merge_request"),
            (V2, {"x-github-event": "push"}, "generic/alert__firing", "push"),
        ],
    )
    def test_the_samples_are_named(
        self, preset: Any, headers: dict[str, str], sample: str, expected: str
    ) -> None:
        assert event_type(preset, headers, payload_of(sample)) == expected

    @pytest.mark.parametrize(
        ("payload", "expected"),
        [
            ({"event_type": "a", "type": "b"}, "a"),
            ({"event_type": "", "type": "b"}, "b"),
            ({"event_type": 7, "type": "b"}, "b"),
            ({"event_type": ["a"], "type": {"b": 1}}, "unknown"),
            ({"event": "a"}, "unknown"),
            ([{"type": "a"}], "unknown"),
            ("type", "unknown"),
            (None, "unknown"),
        ],
    )
    def test_without_a_header_the_body_names_it(self, payload: object, expected: str) -> None:
        assert event_type(V1, {"x-github-event": ""}, payload) == expected

    def test_a_gitlab_header_alone_is_spelled_as_the_body_would(self) -> None:
        assert event_type(GITLAB, {"x-gitlab-event": "Job Hook"}, []) == "build"
        assert event_type(GITLAB, {"x-gitlab-event": "Brand New Hook"}, {}) == "Brand New Hook"

    def test_a_verified_source_is_asked_before_the_others(self) -> None:
        headers = {"x-github-event": "push", "x-gitlab-event": "Note Hook"}
        assert event_type(GITLAB, headers, {}) == "note"
        assert event_type(GITHUB, headers, {}) == "push"

    def test_what_can_not_be_stored_or_logged_is_replaced(self) -> None:
        found = event_type(None, {}, {"type": "a\0b\nc\ud800" + "x" * 300})
        assert found.startswith("a\ufffdb\ufffdc\ufffdx")
        assert len(found) == MAX_EVENT_CHARACTERS

    @given(
        payload=st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner),
            max_leaves=8,
        ),
        header=st.text(max_size=300),
    )
    def test_no_payload_breaks_it(self, payload: object, header: str) -> None:
        for preset in (None, *presets().values()):
            found = event_type(preset, {"x-gitlab-event": header}, payload)
            assert found.isprintable()
            assert 0 < len(found) <= MAX_EVENT_CHARACTERS


class TestTheNameInTheBody:
    """What the samples, one event each, don't show."""

    @pytest.mark.parametrize(
        ("preset", "payload", "expected"),
        [
            ("slack", {"type": "event_callback", "event": {"type": "reaction_added"}}, None),
            ("slack", {"type": "block_actions"}, "block_actions"),
            ("slack", {"command": "/deploys", "text": ""}, "/deploys"),
            ("feishu", {"uuid": "1", "event": {"type": "message"}}, "message"),
            ("discord", {"type": 1, "event": {"type": "ENTITLEMENT_CREATE"}}, None),
            ("discord", {"type": 5}, "modal_submit"),
            ("discord", {"type": 99}, "unknown"),
            ("discord", {"type": True}, "unknown"),
            ("meta", {"object": "page", "entry": [{"messaging": [{}]}]}, "messaging"),
            ("twilio", {"MessageStatus": "delivered", "SmsStatus": "sent"}, "delivered"),
            ("twilio", {"CallStatus": "completed"}, "completed"),
            ("asana", {"events": []}, "unknown"),
            ("telegram", {"update_id": 1, "my_chat_member": {}}, "my_chat_member"),
            ("telegram", {"update_id": 1, "news_of_tomorrow": {}}, "unknown"),
            ("wecom", {"MsgType": "event", "Event": "subscribe"}, "subscribe"),
            ("hubspot", [{"subscriptionType": "deal.creation"}], "deal.creation"),
            ("hubspot", [], "unknown"),
            ("sendgrid", [{"event": "open"}, {"event": "click"}], "open"),
            ("mailgun", {"event-data": {"event": "opened"}}, "opened"),
        ],
    )
    def test_each_source_has_its_places(
        self, preset: str, payload: object, expected: str | None
    ) -> None:
        if expected is None:
            assert isinstance(payload, dict)
            expected = payload["event"]["type"]
        assert event_type(presets()[preset], {}, payload) == expected


class TestDeliveryId:
    @pytest.mark.parametrize(
        ("preset", "headers", "expected"),
        [
            (GITHUB, {"x-github-delivery": "a", "x-request-id": "r"}, "a"),
            (GITHUB, {"x-github-delivery": "", "x-request-id": "r"}, "r"),
            (GITLAB, {"idempotency-key": "a", "x-gitlab-event-uuid": "b"}, "a"),
            (GITLAB, {"x-gitlab-event-uuid": "b", "x-request-id": "r"}, "b"),
            (GITLAB_SIGNED, {"webhook-id": "a", "idempotency-key": "b"}, "a"),
            (V1, {"x-request-id": "r"}, "r"),
            (V1, {"webhook-id": "a"}, "a"),
            (V2, {}, None),
            (V1, {"x-request-id": ""}, None),
            # Unsigned by this family, so anybody could have written it.
            (V1, {"x-github-delivery": "a"}, None),
            (GITLAB, {"x-github-delivery": "a"}, None),
            (None, {"x-github-delivery": "a"}, "a"),
            (None, {"x-gitlab-event-uuid": "b"}, "b"),
            (None, {}, None),
        ],
    )
    def test_only_the_verified_family_is_believed(
        self, preset: Any, headers: dict[str, str], expected: str | None
    ) -> None:
        assert delivery_id(preset, headers, {}) == expected

    def test_an_id_in_the_body_is_a_matter_of_the_record(self) -> None:
        pagerduty = presets()["pagerduty"]
        assert delivery_id(pagerduty, {}, {"event": {"id": "evt_1"}}) == "evt_1"
        assert delivery_id(pagerduty, {}, {"event": {"id": 12}}) == "12"
        assert delivery_id(pagerduty, {"x-request-id": "r"}, {"event": {"id": [1]}}) == "r"
        assert delivery_id(pagerduty, {}, []) is None

    def test_the_first_place_that_has_an_id_counts(self) -> None:
        feishu = presets()["feishu"]
        assert delivery_id(feishu, {}, {"header": {"event_id": "a"}, "uuid": "b"}) == "a"
        assert delivery_id(feishu, {}, {"uuid": "b"}) == "b"

    @pytest.mark.parametrize("value", ["x" * 256, "x" * 60_000, "a\0b", "\x85"])
    def test_what_can_not_be_stored_is_hashed(self, value: str) -> None:
        found = delivery_id(V1, {"x-request-id": value}, {})
        assert found is not None
        assert found.startswith("sha256:")
        assert len(found) <= MAX_ID_CHARACTERS
        assert found == delivery_id(V1, {"x-request-id": value}, {})

    def test_the_longest_id_is_kept(self) -> None:
        assert delivery_id(V1, {"x-request-id": "x" * 255}, {}) == "x" * 255
