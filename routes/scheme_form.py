"""The part of a route's form that describes how a sender signs that no preset knows."""

from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _

from .form_fields import Choices, LinesField
from .presets.custom import ALGORITHMS, MAX_TOLERANCE, custom_preset
from .presets.record import IN_AUTHORIZATION, Encoding, Scheme

HEADER: Final = ("header", _("header"))
QUERY: Final = ("query", _("parameter of the URL"))
PATH: Final = ("path", _("field of the body"))

_KINDS: Choices = [
    (Scheme.HMAC, _("HMAC: a keyed hash of the body")),
    (Scheme.TOKEN, _("The secret itself, in clear")),
    (Scheme.BEARER, _("Authorization: Bearer and the secret")),
    (Scheme.BASIC, _("Authorization: Basic, user and password")),
    (Scheme.HASH, _("A plain hash with the secret in it")),
    (Scheme.ED25519, _("Ed25519; the secret is the public key")),
    (Scheme.ECDSA, _("ECDSA P-256; the secret is the public key")),
    (Scheme.JWT, _("Authorization: Bearer and a JWT (HS256)")),
]
_KEYS: Choices = [("text", _("text, as it stands")), ("base64", "Base64"), ("hex", "Hex")]
_UNITS: Choices = [("seconds", _("seconds")), ("milliseconds", _("milliseconds"))]
# What need not be said; the form shows it, the mapping leaves it out.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "scheme": Scheme.HMAC.value,
    "algorithm": "sha256",
    "encoding": Encoding.HEX.value,
    "signed": "{body}",
    "secret": "text",
    "separator": ",",
}
_TIME_DEFAULTS: Final[Mapping[str, Any]] = {"unit": "seconds", "tolerance": 300, "optional": False}


class PlaceWidget(forms.MultiWidget):
    """What kind of place it is, and its name there."""

    def __init__(self, kinds: Choices) -> None:
        name = forms.TextInput(attrs={"size": 32, "spellcheck": "false", "aria-label": _("Name")})
        super().__init__([forms.Select(choices=kinds, attrs={"aria-label": _("Place")}), name])

    def decompress(self, value: Any) -> list[Any]:
        """Return kind and name of ``{"header": "x-signature"}``."""
        if isinstance(value, dict):
            return next(([kind, name] for kind, name in value.items()), [None, ""])
        return [None, ""]


class PlaceField(forms.MultiValueField):
    """One place of a request; cleans to ``{"header": "x-signature"}``, or {} without a name."""

    def __init__(self, kinds: Choices, **kwargs: Any) -> None:
        fields = (
            forms.ChoiceField(choices=kinds, required=False),
            forms.CharField(max_length=200, required=False),
        )
        super().__init__(
            fields=fields,
            widget=PlaceWidget(kinds),
            required=False,
            require_all_fields=False,
            **kwargs,
        )

    def compress(self, data_list: Any) -> dict[str, str]:
        """Return the place."""
        kind, name = data_list or ("", "")
        return {kind: name} if kind and name else {}


class SchemeFields(forms.Form):
    """Fields that together are `Route.custom_scheme`, see `routes.presets.custom`."""

    scheme_scheme = forms.ChoiceField(
        label=_("It proves itself by"), choices=_KINDS, required=False
    )
    scheme_place = PlaceField(
        [HEADER, QUERY, PATH],
        label=_("The signature is in"),
        help_text=_("As X-Acme-Signature. Not asked for where it is Authorization anyway."),
    )
    scheme_prefix = forms.CharField(
        label=_("After the prefix"), required=False, help_text=_("As “sha256=”. May stay empty.")
    )
    scheme_algorithm = forms.ChoiceField(
        label=_("Algorithm"), choices=[(one, one.upper()) for one in ALGORITHMS], required=False
    )
    scheme_encoding = forms.ChoiceField(
        label=_("Written in"), choices=[("hex", "Hex"), ("base64", "Base64")], required=False
    )
    scheme_signed = forms.CharField(
        label=_("Signed text"),
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs={"size": 40, "spellcheck": "false"}),
        help_text=_(
            "{body} is the raw body; {timestamp}, {id}, {nonce}, {url}, {method} and {secret} may "
            "stand in it, too: {timestamp}.{body}"
        ),
    )
    scheme_secret = forms.ChoiceField(label=_("The secret is"), choices=_KEYS, required=False)
    scheme_secret_prefix = forms.CharField(
        label=_("Prefix of a Base64 secret"),
        required=False,
        help_text=_("As “whsec_”: a secret that begins so continues in Base64."),
    )
    scheme_timestamp = PlaceField(
        [HEADER, QUERY, PATH],
        label=_("Time of signing"),
        help_text=_("Without one, an old request can be sent again."),
    )
    scheme_timestamp_part = forms.CharField(
        label=_("It begins with"),
        required=False,
        help_text=_("Where the header has several parts, as “t=1700000000,v1=…”: “t=”."),
    )
    scheme_timestamp_unit = forms.ChoiceField(label=_("Counted in"), choices=_UNITS, required=False)
    scheme_timestamp_tolerance = forms.IntegerField(
        label=_("Off by at most"),
        required=False,
        min_value=1,
        max_value=MAX_TOLERANCE,
        help_text=_("Seconds. Empty: 300."),
    )
    scheme_timestamp_optional = forms.BooleanField(
        label=_("Requests without it are good, too"), required=False
    )
    scheme_id = PlaceField(
        [HEADER, PATH],
        label=_("Id of a delivery"),
        help_text=_("By it repeats are known. Without one, equal bodies are repeats."),
    )
    scheme_event = PlaceField(
        [HEADER, PATH],
        label=_("Name of the event"),
        help_text=_("As X-Acme-Event, or “data.type”."),
    )
    scheme_greetings = LinesField(
        label=_("Events that wake nobody"),
        widget=forms.Textarea(attrs={"rows": 2, "cols": 40}),
        help_text=_("One a line, as “ping”."),
    )
    scheme_nonce = PlaceField([HEADER, QUERY], label=_("Nonce"))
    scheme_separator = forms.CharField(
        label=_("Between several signatures"), required=False, strip=False, max_length=40
    )
    scheme_label = forms.CharField(
        label=_("Its name"), required=False, help_text=_("As agents and pages say it.")
    )

    def scheme_initial(self, stored: Any) -> dict[str, Any]:
        """Return what the fields start with."""
        data = stored if isinstance(stored, dict) else {}
        timestamp = data.get("timestamp")
        time: dict[str, Any] = timestamp if isinstance(timestamp, dict) else {}
        found = {
            f"scheme_{key}": data.get(key, _DEFAULTS.get(key, "")) for key in (*_TEXTS, *_DEFAULTS)
        }
        found |= {f"scheme_timestamp_{key}": time.get(key, _TIME_DEFAULTS.get(key, ""))
                  for key in ("part", *_TIME_DEFAULTS)}  # fmt: skip
        found |= {f"scheme_{key}": data.get(key) or {} for key in ("nonce", "id", "event")}
        if data.get("scheme") == Scheme.HASH:
            found["scheme_signed"] = data.get("signed", "{secret}{body}")
        found["scheme_place"] = _place(data)
        found["scheme_timestamp"] = _place(time)
        found["scheme_greetings"] = data.get("greetings") or []
        return found

    def scheme(self) -> dict[str, Any]:
        """Return the mapping that the fields describe, and name each fault at its field."""
        data = self.cleaned_data
        found: dict[str, Any] = {}
        if data.get("scheme_scheme") not in IN_AUTHORIZATION:
            found |= data.get("scheme_place") or {}
        for key in (*_TEXTS, *_DEFAULTS):
            value = data.get(f"scheme_{key}")
            if value and value != _DEFAULTS.get(key):
                found[key] = value
        if timestamp := self._timestamp():
            found["timestamp"] = timestamp
        for key in ("nonce", "id", "event", "greetings"):
            if value := data.get(f"scheme_{key}"):
                found[key] = value
        try:
            custom_preset(found)
        except ValidationError as error:
            for fault in error.error_list:
                self._name(fault)
        return found

    def _timestamp(self) -> dict[str, Any]:
        data = self.cleaned_data
        found: dict[str, Any] = dict(data.get("scheme_timestamp") or {})
        if not found:
            return {}
        for key in ("part", *_TIME_DEFAULTS):
            value = data.get(f"scheme_timestamp_{key}")
            if value and value != _TIME_DEFAULTS.get(key):
                found[key] = value
        return found

    def _name(self, fault: ValidationError) -> None:
        """Show a fault at the field that its path belongs to."""
        first, _dot, rest = str((fault.params or {}).get("path", "")).partition(".")
        name = {"header": "place", "query": "place", "path": "place"}.get(first, first)
        if first == "timestamp" and f"scheme_timestamp_{rest}" in self.fields:
            name = f"timestamp_{rest}"
        field = f"scheme_{name}"
        self.add_error(field if field in self.fields else "preset", fault.messages)


_TEXTS: Final = ("prefix", "secret_prefix", "label")

#: In the order of the page; what belongs together shares a line.
SCHEME_FIELDS: Final = (
    "scheme_scheme",
    "scheme_place",
    "scheme_prefix",
    ("scheme_algorithm", "scheme_encoding"),
    "scheme_signed",
    ("scheme_secret", "scheme_secret_prefix"),
    ("scheme_timestamp", "scheme_timestamp_part"),
    ("scheme_timestamp_unit", "scheme_timestamp_tolerance"),
    "scheme_timestamp_optional",
    "scheme_id",
    "scheme_event",
    "scheme_greetings",
    "scheme_nonce",
    "scheme_separator",
    "scheme_label",
)


def _place(data: Mapping[str, Any]) -> dict[str, str]:
    return next(({key: data[key]} for key in ("header", "query", "path") if data.get(key)), {})
