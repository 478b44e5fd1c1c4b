"""The form of a route: scheme of one's own, filters, targets, coalescing, advice."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from platforms.models import Channel
from routes.form_fields import read_json, readable_json
from routes.forms import RouteForm
from routes.models import Route
from routes.presets import presets
from routes.presets.custom import custom_preset

from .test_routes import LIST, errors, filled, page

pytestmark = pytest.mark.django_db

SCHEME = {
    "header": "x-acme-signature",
    "algorithm": "sha512",
    "encoding": "base64",
    "prefix": "v0=",
    "separator": " ",
    "signed": "{timestamp}:{id}:{nonce}:{body}",
    "timestamp": {
        "header": "x-acme-time",
        "part": "t=",
        "unit": "milliseconds",
        "tolerance": 60,
        "optional": True,
    },
    "nonce": {"header": "x-acme-nonce"},
    "id": {"header": "x-acme-id"},
    "event": {"path": "data.type"},
    "secret": "hex",
    "secret_prefix": "whsec_",
    "greetings": ["ping"],
    "label": "Acme",
}


def sent_back(route: Route) -> dict[str, Any]:
    """Return what a browser sends for the form of a route that nobody touched."""
    form = RouteForm(instance=route)
    sent: dict[str, Any] = {}
    for name, field in form.fields.items():
        value = form[name].value()
        match name:
            case "fan_out":
                for number, row in enumerate(value or []):
                    sent[f"{name}_{number}_deliver"] = row["deliver"]
                    sent[f"{name}_{number}_extra"] = json.dumps(row["deliver_extra"])
                sent.setdefault(f"{name}_0_deliver", "")
            case _ if hasattr(field.widget, "decompress"):
                kind, inner = field.widget.decompress(value)
                sent |= {f"{name}_0": kind or "header", f"{name}_1": inner}
            case _ if value is True:
                sent[name] = "on"
            case _ if value is not None and value is not False:
                sent[name] = value
    return sent


def test_every_source_is_offered_in_its_family_with_how_it_signs(operator: Client) -> None:
    form = operator.get(f"{LIST}add/").context["adminform"].form
    groups = dict(form.fields["preset"].choices)
    offered = {name for group in groups.values() if isinstance(group, list) for name, _ in group}
    assert offered == set(presets())
    assert dict(groups["Code"])["github"] == "GitHub · HMAC-SHA256, X-Hub-Signature-256"
    assert {"auto", "custom"} <= set(groups)


def test_a_scheme_of_ones_own_is_filled_in_by_fields(operator: Client) -> None:
    operator.post(
        f"{LIST}add/",
        filled(
            preset="custom",
            scheme_scheme="hmac",
            scheme_place_0="header",
            scheme_place_1="X-Acme-Signature",
            scheme_prefix="v0=",
            scheme_signed="{timestamp}.{body}",
            scheme_timestamp_0="header",
            scheme_timestamp_1="X-Acme-Time",
            scheme_timestamp_tolerance="60",
            scheme_event_0="path",
            scheme_event_1="data.type",
        ),
    )
    assert Route.objects.get().custom_scheme == {
        "header": "X-Acme-Signature",
        "prefix": "v0=",
        "signed": "{timestamp}.{body}",
        "timestamp": {"header": "X-Acme-Time", "tolerance": 60},
        "event": {"path": "data.type"},
    }


@pytest.mark.parametrize(
    "scheme",
    [
        SCHEME,
        {"header": "x-signature"},
        {"scheme": "bearer"},
        {"scheme": "token", "path": "secret", "id": {"path": "id"}},
        {"scheme": "hash", "query": "sign", "signed": "{secret}{body}{secret}"},
    ],
)
def test_the_fields_keep_a_stored_scheme_as_it_is(
    operator: Client, route: Route, scheme: dict[str, Any]
) -> None:
    custom_preset(scheme)  # or this test would prove nothing
    Route.objects.filter(pk=route.pk).update(preset="custom", custom_scheme=scheme)
    route.refresh_from_db()
    response = operator.post(page(route), sent_back(route))
    assert response.status_code == 302
    route.refresh_from_db()
    assert route.custom_scheme == scheme


@pytest.mark.parametrize(
    ("changes", "field", "said"),
    [
        ({}, "scheme_place", "say where the signature is"),
        ({"scheme_place_1": "not a header!"}, "scheme_place", "header: is not a valid text"),
        ({"scheme_place_1": "x", "scheme_signed": "{boddy}"}, "scheme_signed", "{boddy}"),
        ({"scheme_place_1": "x", "scheme_timestamp_1": "t", "scheme_timestamp_0": "header"},
         "scheme_timestamp", "is not part of what is signed"),
        ({"scheme_place_1": "x", "scheme_timestamp_tolerance": "0"},
         "scheme_timestamp_tolerance", "greater than or equal to 1"),
        ({"scheme_place_1": "x", "scheme_scheme": "rot13"}, "scheme_scheme", "rot13"),
    ],
)  # fmt: skip
def test_a_scheme_that_can_not_be_is_explained_at_its_field(
    operator: Client, changes: dict[str, str], field: str, said: str
) -> None:
    found = errors(operator, preset="custom", scheme_place_0="header", **changes)
    assert said in str(found[field])
    assert not Route.objects.exists()


def test_the_scheme_is_not_asked_for_with_a_known_source(operator: Client) -> None:
    operator.post(f"{LIST}add/", filled(preset="github", scheme_signed="{nonsense}"))
    assert Route.objects.get().custom_scheme == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"field": "a"}]', "filters[0]"),
        ('[{"any": [{"field": "a", "regex": "("}]}]', "filters[0].any[0].regex"),
        ('[{"field": "a", "in_file": "/etc/passwd"}]', "in_file"),
        ('[{"field": "a",}]', "line 1, column 16"),
        ('{"field": "a", "equals": Infinity}', "Not JSON"),
        ('{"field": "a", "equals": "\\u0000"}', "can&#x27;t be stored"),
        ("[" * 5000, "Not JSON"),
    ],
)
def test_a_wrong_filter_is_refused_with_its_place(operator: Client, text: str, said: str) -> None:
    assert said in str(errors(operator, filters=text)["filters"])


def test_filters_are_stored_as_they_were_written(operator: Client) -> None:
    operator.post(f"{LIST}add/", filled(filters='{"field": "action", "equals": "opened"}'))
    assert Route.objects.get().filters == {"field": "action", "equals": "opened"}


def test_further_targets_are_rows(operator: Client, channel: Channel) -> None:
    operator.post(
        f"{LIST}add/",
        filled(
            fan_out_0_deliver="team-chat",
            fan_out_0_extra='{"chat_id": "{chat}"}',
            fan_out_1_deliver="",
            fan_out_1_extra="",
            fan_out_2_deliver="log",
        ),
    )
    assert Route.objects.get().fan_out == [
        {"deliver": "team-chat", "deliver_extra": {"chat_id": "{chat}"}},
        {"deliver": "log", "deliver_extra": {}},
    ]


def test_rows_of_targets_are_shown_filled_in_with_empty_ones_below(
    operator: Client, route: Route
) -> None:
    target = {"deliver": "gone-channel", "deliver_extra": {"chat_id": "<b>"}}
    Route.objects.filter(pk=route.pk).update(fan_out=[target])
    shown = operator.get(page(route)).content.decode()
    assert '<option value="gone-channel" selected>' in shown
    assert "&quot;&lt;b&gt;&quot;" in shown
    assert 'name="fan_out_2_deliver"' in shown


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"fan_out_0_extra": '{"a": 1}'}, "Target 2: choose where it goes."),
        ({"fan_out_0_deliver": "log", "fan_out_0_extra": "[1]"}, "Target 2: Give a JSON object"),
        ({"fan_out_0_deliver": "log", "fan_out_0_extra": "{"}, "Target 2: Not JSON"),
    ],
)
def test_a_wrong_target_is_named_by_its_number(
    operator: Client, row: dict[str, str], said: str
) -> None:
    assert said in str(errors(operator, **row)["fan_out"])


def test_every_target_of_a_direct_delivery_must_be_a_real_one(
    operator: Client, channel: Channel
) -> None:
    sent = {"deliver": "team-chat", "deliver_only": "on", "fan_out_0_deliver": "log"}
    assert "needs a target other than the log" in str(errors(operator, **sent)["deliver"])


def test_coalescing_is_three_fields(operator: Client) -> None:
    operator.post(f"{LIST}add/", filled(coalesce_key="{number}", coalesce_window="45"))
    assert Route.objects.get().coalesce == {"key": "{number}", "window_seconds": 45}


def test_without_a_key_nothing_is_coalesced(operator: Client, route: Route) -> None:
    Route.objects.filter(pk=route.pk).update(coalesce={"key": "number"})
    route.refresh_from_db()
    operator.post(page(route), sent_back(route) | {"coalesce_key": "", "coalesce_window": "45"})
    route.refresh_from_db()
    assert route.coalesce == {}


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"coalesce_key": "all of them {}"}, "key:"),
        ({"coalesce_key": "{a}", "coalesce_window": "60", "coalesce_max_wait": "30"},
         "max_wait_seconds"),
    ],
)  # fmt: skip
def test_coalescing_that_can_not_be_is_refused(
    operator: Client, sent: dict[str, str], said: str
) -> None:
    assert said in str(errors(operator, **sent)["coalesce_key"])


def test_a_direct_delivery_can_not_be_held_back(operator: Client, channel: Channel) -> None:
    sent = {"deliver": "team-chat", "deliver_only": "on", "coalesce_key": "{a}"}
    assert "only delivers" in str(errors(operator, **sent)["coalesce_key"])


def test_the_form_keeps_all_that_it_does_not_change(operator: Client, route: Route) -> None:
    fields = {
        "filters": [{"field": "action", "in": ["opened", "reopened"]}],
        "fence": False,
        "conversation_key": "{number}",
        "coalesce": {"key": "number", "window_seconds": 5, "max_wait_seconds": 50},
        "fan_out": [{"deliver": "gone-channel", "deliver_extra": {"chat_id": "{a}"}}],
        "answer_at_once": True,
        "rate_limit": 0,
    }
    Route.objects.filter(pk=route.pk).update(**fields)
    route.refresh_from_db()
    before = Route.objects.values().get(pk=route.pk)
    operator.post(page(route), sent_back(route))
    after = Route.objects.values().get(pk=route.pk)
    assert after | {"updated_at": None} == before | {"updated_at": None}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"preset": "slack", "deliver_only": True}, "Slack waits 3 s for an answer"),
        ({"preset": "github", "deliver_only": True}, "GitHub does not repeat what failed"),
        ({"preset": "gitlab"}, "The token travels in clear"),
        ({"preset": "twilio"}, "Twilio signs the address it posts to: set PUBLIC_URL"),
        ({"preset": "github", "answer_at_once": True}, "is for direct deliveries"),
        ({"preset": "custom", "custom_scheme": {"scheme": "bearer", "label": "Acme"}},
         "Acme does not protect the body"),
    ],
)  # fmt: skip
def test_the_page_advises_by_the_source(
    operator: Client, route: Route, settings: Any, fields: dict[str, Any], said: str
) -> None:
    settings.PUBLIC_URL = "http://localhost:8644"
    Route.objects.filter(pk=route.pk).update(**fields)
    assert said in operator.get(page(route)).content.decode()


@pytest.mark.parametrize(
    "fields",
    [
        {"preset": "github"},
        {"preset": "slack", "deliver_only": True, "answer_at_once": True},
        {"preset": "auto", "deliver_only": True},
    ],
)
def test_where_all_is_well_there_is_no_advice(
    operator: Client, route: Route, fields: dict[str, Any]
) -> None:
    Route.objects.filter(pk=route.pk).update(**fields)
    assert operator.get(page(route)).context["advice"] == []


def test_a_reader_sees_what_comes_in_pieces_as_it_is_stored(
    person_with: Callable[..., Client], route: Route
) -> None:
    Route.objects.filter(pk=route.pk).update(
        preset="custom", custom_scheme=SCHEME, coalesce={"key": "{number}"}
    )
    shown = person_with("routes.view_route").get(page(route)).content.decode()
    assert "x-acme-signature" in shown
    assert "{number}" in shown


@pytest.mark.parametrize(
    "value",
    [[], {}, 1, "a", [1, {"a": []}], {"a" * 80: {"b": ["c" * 90, None]}}, [["x" * 40] * 3]],
)
def test_json_is_shown_readably_and_read_back_as_it_was(value: Any) -> None:
    assert read_json(readable_json(value)) == value
