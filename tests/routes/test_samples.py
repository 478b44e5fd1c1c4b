"""Every source, round: a sample is signed, verified, named and known again."""

import json
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from routes import samples as room
from routes.parsing import parse_body
from routes.presets import EventName, Preset, delivery_id, detect, event_type, families, presets
from routes.presets.record import IN_AUTHORIZATION, Scheme
from routes.samples import Request, Sample, sample, samples, signed_request
from routes.signatures import Refused, Verified, Verifier
from routes.signatures.verdicts import Address

from .keypairs import secret_pair

NOW = 1_772_450_444.0
URL = "https://hermes.example/hooks/webhooks/any?team=shop"
FILES = sorted(Path(room.__file__).parent.glob("*.json"))
PRESETS = list(presets().values())
SAMPLES = [(preset, one) for preset in PRESETS for one in samples(preset.name)]
# The signature is the secret, and whoever has it may say anything; or it is in the body.
HEADERS_ALONE = [
    preset for preset in PRESETS if preset.header and preset.scheme not in IN_AUTHORIZATION
]

every = pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.name)
sampled = pytest.mark.parametrize(
    ("preset", "event"),
    [(preset, one.event) for preset, one in SAMPLES],
    ids=[f"{preset.name}-{one.event}" for preset, one in SAMPLES],
)


def request_of(preset: Preset, event: str | None = None, given: Sample | None = None) -> Request:
    private, _public = secret_pair(preset)
    return signed_request(preset, private, given or sample(preset.name, event), URL, NOW)


def verify(preset: Preset, request: Request, secrets: tuple[str, ...] = ()) -> Verified | Refused:
    secrets = secrets or secret_pair(preset)[1:]
    query = urlsplit(request.url).query
    at = Address(request.method, f"https://hermes.example{request.url}", query)
    return Verifier(preset, secrets).verify(dict(request.headers), request.body, NOW, at)


def payload_of(preset: Preset, request: Request, found: Verified) -> object:
    body = request.body if found.body is None else found.body
    return parse_body(body, request.headers["content-type"], xml=preset.xml)


def _names(payload: object) -> set[str]:
    """Return the names of a payload's fields, at any depth."""
    if isinstance(payload, list):
        return set().union(*(_names(item) for item in payload))
    if isinstance(payload, dict):
        return set(payload).union(*(_names(value) for value in payload.values()))
    return set()


class TestEverySample:
    @sampled
    def test_it_is_signed_verified_named_and_known_again(self, preset: Preset, event: str) -> None:
        given = sample(preset.name, event)
        request = request_of(preset, given=given)
        found = verify(preset, request)
        assert isinstance(found, Verified), found
        assert found.preset.name == preset.name
        payload = payload_of(preset, request, found)
        assert event_type(preset, request.headers, payload) == event
        known = delivery_id(preset, request.headers, payload)
        if preset.id_headers:
            assert known == given.id
        else:
            assert bool(known) == bool(preset.id_paths)

    @sampled
    def test_what_it_says_arrives(self, preset: Preset, event: str) -> None:
        given = sample(preset.name, event)
        request = request_of(preset, given=given)
        found = verify(preset, request)
        assert isinstance(found, Verified)
        payload = payload_of(preset, request, found)
        assert _names(given.payload) <= _names(payload)

    @sampled
    def test_another_secret_refuses_it(self, preset: Preset, event: str) -> None:
        right, other = secret_pair(preset)[1], secret_pair(preset, "other")[1]
        request = request_of(preset, event)
        assert isinstance(verify(preset, request, secrets=(other, right)), Verified)
        assert isinstance(verify(preset, request, secrets=(other,)), Refused)


class TestEverySource:
    @every
    def test_it_has_a_sample_a_label_and_a_page(self, preset: Preset) -> None:
        assert samples(preset.name)
        assert str(preset.label)
        assert str(preset.setup)
        assert preset.docs.startswith(("https://", "docs/"))

    @every
    def test_a_body_that_is_not_protected_is_noted(self, preset: Preset) -> None:
        assert preset.protects_body or str(preset.note)

    @every
    def test_two_samples_are_two_deliveries(self, preset: Preset) -> None:
        first, second = request_of(preset), request_of(preset)
        payloads = []
        for request in (first, second):
            found = verify(preset, request)
            assert isinstance(found, Verified)
            payloads.append(payload_of(preset, request, found))
        ids = [
            delivery_id(preset, request.headers, payload)
            for request, payload in zip((first, second), payloads, strict=True)
        ]
        if ids[0] is None:
            assert payloads[0] != payloads[1]
        else:
            assert ids[0] != ids[1]

    @every
    def test_its_headers_tell_it_where_they_can(self, preset: Preset) -> None:
        found = detect(request_of(preset).headers)
        if preset.auto and preset.scheme not in (Scheme.ED25519, Scheme.ECDSA):
            assert found is preset
        else:
            assert found is not preset

    @pytest.mark.parametrize("preset", HEADERS_ALONE, ids=lambda preset: preset.name)
    def test_its_requests_open_no_route_of_another_header(self, preset: Preset) -> None:
        request = request_of(preset)
        private, public = secret_pair(preset)
        for other in PRESETS:
            if other.header in request.headers or other.scheme is Scheme.NONE:
                continue
            for secret in (private, public):
                found = Verifier(other, (secret,)).verify(
                    dict(request.headers), request.body, NOW, Address("POST", URL, "team=shop")
                )
                assert isinstance(found, Refused), other.name

    @every
    def test_without_its_signature_it_is_refused_whatever_else_is_there(
        self, preset: Preset
    ) -> None:
        """A pinned source never falls back to a weaker one."""
        _private, public = secret_pair(preset)
        headers = {"content-type": "application/json"}
        for other in PRESETS:
            if not other.header or other.header in (preset.header, *preset.other_headers):
                continue
            if other.scheme in IN_AUTHORIZATION and preset.scheme in IN_AUTHORIZATION:
                continue
            if secret_pair(other) == secret_pair(preset):
                headers |= request_of(other).headers
        for name in (preset.header, *preset.other_headers):
            headers.pop(name, None)
        assert isinstance(Verifier(preset, (public,)).verify(headers, b"{}", NOW), Refused)

    def test_each_belongs_to_one_family(self) -> None:
        listed = [preset for _label, family in families() for preset in family]
        assert listed == PRESETS
        assert len({preset.name for preset in listed}) == len(listed)

    def test_there_are_more_than_forty(self) -> None:
        assert len(PRESETS) >= 42


class TestRecognition:
    """Look-alikes (facts/sources.md §4.10)."""

    @pytest.mark.parametrize(
        ("headers", "expected"),
        [
            ({"x-hub-signature-256": "sha256=a", "x-github-event": "push"}, "github"),
            ({"x-hub-signature-256": "sha256=a", "x-hub-signature": "sha1=b"}, "github"),
            ({"x-hub-signature-256": "sha256=a", "user-agent": "facebookexternalua"}, "meta"),
            ({"x-hub-signature-256": "sha256=a", "user-agent": "FacebookPlatform/1.0"}, "meta"),
            (
                {
                    "x-hub-signature-256": "sha256=a",
                    "x-github-event": "push",
                    "user-agent": "facebook",
                },
                "github",
            ),
            ({"x-hub-signature": "sha1=a"}, "intercom"),
            ({"x-hub-signature": "sha1=a", "x-github-event": "push"}, None),
            ({"x-hub-signature": "sha256=a"}, None),
            ({"x-hub-signature": "sha256=a", "x-event-key": "pr:opened"}, "bitbucket_server"),
            (
                {
                    "x-hub-signature": "sha256=a",
                    "x-event-key": "repo:push",
                    "x-request-uuid": "1",
                },
                "bitbucket",
            ),
            ({"x-hub-signature": "sha256=a", "x-atlassian-webhook-identifier": "1"}, "jira"),
            (
                {"authorization": "Bearer a", "x-atlassian-webhook-identifier": "1"},
                "jira_app",
            ),
            ({"webhook-signature": "v1,a"}, "standard_webhooks"),
            ({"webhook-signature": "v1,a", "x-gitlab-event": "Push Hook"}, "gitlab_signed"),
            ({"webhook-signature": "v1,a", "svix-signature": "v1,a"}, "svix"),
            ({"x-hookdeck-signature": "a", "stripe-signature": "t=1,v1=a"}, "stripe"),
            ({"authorization": "Bearer a"}, "bearer"),
            ({"authorization": "Basic a"}, "basic"),
            ({"authorization": "Bearer a", "ce-id": "1"}, "cloudevents"),
            ({"authorization": "Bearer a", "x-webhook-signature": "a"}, "generic"),
        ],
    )
    def test_each_is_told_from_the_others(
        self, headers: dict[str, str], expected: str | None
    ) -> None:
        found = detect(headers)
        assert (found.name if found else None) == expected

    def test_forgejo_gitea_and_gogs_come_before_github(self) -> None:
        headers: dict[str, str] = {"x-hub-signature-256": "sha256=a", "x-github-event": "push"}
        for name in ("gogs", "gitea", "forgejo"):
            headers |= {f"x-{name}-signature": "a", f"x-{name}-event": "push"}
            found = detect(headers)
            assert found is not None
            assert found.name == name


class TestTheFiles:
    @pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
    def test_each_belongs_to_a_source(self, file: Path) -> None:
        assert file.stem in presets()
        assert json.loads(file.read_text())

    def test_an_event_without_a_sample_is_placed_where_the_source_says_it(self) -> None:
        for name, event in (
            ("stripe", "charge.refunded"),
            ("asana", "story.removed"),
            ("telegram", "poll"),
            ("discord", "modal_submit"),
            ("microsoft_graph", "deleted"),
            ("generic", "anything"),
            ("github", "release"),
            ("gitlab", "pipeline"),
        ):
            preset = presets()[name]
            request = request_of(preset, event)
            found = verify(preset, request)
            assert isinstance(found, Verified)
            payload = payload_of(preset, request, found)
            assert event_type(preset, request.headers, payload) == event

    def test_a_sender_that_was_described_by_form_gets_its_own_places(self) -> None:
        preset = replace(
            presets()["generic"],
            name="custom",
            event=(EventName(body="what.kind"),),
            id_headers=(),
            id_paths=("what.number",),
        )
        request = request_of(preset, given=sample("custom", "opened"))
        assert isinstance(verify(preset, request), Verified)
        payload = json.loads(request.body)
        assert event_type(preset, request.headers, payload) == "opened"
        assert delivery_id(preset, request.headers, payload)

    @pytest.mark.parametrize("name", ["auto", "custom", "../../settings", "nobody"])
    def test_who_is_not_known_sends_what_anybody_could(self, name: str) -> None:
        assert sample(name).event == sample("generic").event

    def test_a_payload_is_the_callers_own(self) -> None:
        first = sample("github").payload
        assert isinstance(first, dict)
        first.clear()
        assert sample("github").payload
