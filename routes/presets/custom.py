"""A source of the operator's own: the record made from a mapping (docs/custom-schemes.md).

================  ==================================================================================
``scheme``        ``hmac`` (the default), ``hash``, ``ed25519``, ``ecdsa``; ``token``, ``bearer``,
                  ``basic``, ``jwt``
``header``        where the signature or the token is; or ``query`` (a parameter of the URL), or
                  ``path`` (into the JSON body). ``bearer``, ``basic``, ``jwt``: Authorization
``algorithm``     ``sha256`` (the default), ``sha1``, ``sha512``
``encoding``      ``hex`` (the default), ``base64``
``prefix``        what stands before each signature, as ``sha256=``
``separator``     between several signatures in one header; a comma
``signed``        the signed text, ``{body}`` unless said: see `Preset`
``timestamp``     ``{header | path | query, part, unit, tolerance, optional}``: ``part`` is how the
                  time's item of the header begins (``t=``), ``unit`` ``seconds`` or
                  ``milliseconds``, ``tolerance`` seconds (300). Where an ``optional`` one is not
                  sent, the body alone is signed
``nonce``         ``{header | query}``
``id``            ``{header | path}`` of the delivery's id
``event``         ``{header | path}`` of the event's name
``secret``        ``text`` (the default), ``base64``, ``hex``: what the secret's bytes are
``secret_prefix`` a secret that begins so continues in base64, as ``whsec_``
``greetings``     a list of events that are answered and wake nobody
``label``         how the source is called
================  ==================================================================================
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from .record import IN_AUTHORIZATION, Encoding, EventName, Key, Preset, Scheme, Timestamp

NAME = "custom"
DOCS = "docs/custom-schemes.md"
ALGORITHMS = ("sha256", "sha1", "sha512")
UNITS = {"seconds": 1, "milliseconds": 1000}
MAX_TOLERANCE = 7 * 24 * 3600

_SIGNING = frozenset({Scheme.HMAC, Scheme.HASH, Scheme.ED25519, Scheme.ECDSA})
_SCHEMES = _SIGNING | IN_AUTHORIZATION | {Scheme.TOKEN}
_ANY = frozenset({"scheme", "id", "event", "greetings", "label"})
_PLACES = frozenset({"header", "query", "path"})
_OF_SIGNING = frozenset(
    {"algorithm", "encoding", "prefix", "separator", "signed", "timestamp", "nonce", "secret",
     "secret_prefix"}
)  # fmt: skip
# A header's name (RFC 9110, token).
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}", re.ASCII)
_PRINTABLE = re.compile(r"[\x20-\x7e]{1,40}", re.ASCII)
_PATH = re.compile(r"[^\x00-\x20]{1,200}")
_FIELD = re.compile(r"\{([^{}]*)\}")
_FIELDS = frozenset({"body", "timestamp", "id", "nonce", "secret", "method", "url", "form"})


def custom_preset(data: object) -> Preset:
    """Return the record that a mapping describes.

    Raises ValidationError with one message for each fault; each begins with the fault's path in
    the mapping (``timestamp.unit: …``).
    """
    if not isinstance(data, Mapping):
        raise ValidationError(_("A custom scheme is a mapping."))
    reading = _Reading(data)
    preset = reading.preset()
    if reading.faults:
        raise ValidationError(reading.faults)
    return preset


class _Reading:
    """One mapping being read; faults gather, so that all are named at once."""

    def __init__(self, data: Mapping[Any, Any]) -> None:
        self.data = data
        self.faults: list[ValidationError] = []

    def preset(self) -> Preset:
        """Return the record; not to be used where there are faults."""
        scheme = Scheme(self.choice("scheme", sorted(_SCHEMES), Scheme.HMAC))
        self.only("", self.data, self.allowed(scheme))
        header, query, path = self.signature_place(scheme)
        timestamp = self.timestamp()
        nonce = self.place("nonce", {"header", "query"})
        delivery = self.place("id", {"header", "path"})
        event = self.place("event", {"header", "path"})
        signed = self.signed(scheme, timestamp, nonce, delivery)
        return Preset(
            name=NAME,
            label=self.text("label", _PRINTABLE) or _("Custom scheme"),
            scheme=scheme,
            header=header,
            docs=DOCS,
            auto=False,
            algorithm=self.choice("algorithm", ALGORITHMS, "sha256"),
            encoding=Encoding(self.choice("encoding", list(Encoding), Encoding.HEX)),
            prefix=self.text("prefix", _PRINTABLE),
            separator=self.text("separator", _PRINTABLE) or ",",
            query=query,
            paths=(path,) if path else (),
            timestamp=timestamp,
            signed=signed,
            nonce_header=nonce.get("header", ""),
            nonce_query=nonce.get("query", ""),
            key=Key(self.choice("secret", list(Key), Key.TEXT)),
            base64_secret_prefix=self.text("secret_prefix", _PRINTABLE),
            event=(EventName(event.get("header", ""), event.get("path", "")),) if event else (),
            id_headers=(delivery["header"],) if "header" in delivery else (),
            id_paths=(delivery["path"],) if "path" in delivery else (),
            greetings=self.greetings(),
        )

    def allowed(self, scheme: Scheme) -> frozenset[str]:
        """Return the keys that mean something for a scheme."""
        if scheme in IN_AUTHORIZATION:
            return _ANY
        if scheme is Scheme.TOKEN:
            return _ANY | _PLACES | {"prefix"}
        return _ANY | _PLACES | _OF_SIGNING

    def signature_place(self, scheme: Scheme) -> tuple[str, str, str]:
        """Return header, parameter of the URL and path of the signature: exactly one is set."""
        if scheme in IN_AUTHORIZATION:
            return "authorization", "", ""
        found = self.header("", "header"), self.text("query", _PRINTABLE), self.text("path", _PATH)
        if sum(1 for name in _PLACES if self.data.get(name)) != 1:
            self.fault("header", _("say where the signature is: a header, or query, or path."))
        return found

    def timestamp(self) -> Timestamp | None:
        """Return where the time of signing is; None where the scheme has none."""
        data = self.mapping("timestamp")
        if not data:
            return None
        names = frozenset({"header", "query", "path", "part", "unit", "tolerance", "optional"})
        self.only("timestamp", data, names)
        place = self.place("timestamp", _PLACES)
        tolerance = data.get("tolerance", 300)
        if isinstance(tolerance, bool) or not isinstance(tolerance, int):
            self.fault("timestamp.tolerance", _("must be a number of seconds."))
            tolerance = 300
        elif not 1 <= tolerance <= MAX_TOLERANCE:
            self.fault("timestamp.tolerance", _("must be between 1 second and a week."))
        optional = data.get("optional", False)
        if not isinstance(optional, bool):
            self.fault("timestamp.optional", _("must be true or false."))
        return Timestamp(
            header=place.get("header", ""),
            part=self.text("part", _PRINTABLE, "timestamp"),
            per_second=UNITS[self.choice("unit", list(UNITS), "seconds", "timestamp")],
            tolerance=tolerance,
            query=place.get("query", ""),
            path=place.get("path", ""),
            optional=optional is True,
        )

    def signed(
        self,
        scheme: Scheme,
        timestamp: Timestamp | None,
        nonce: Mapping[str, str],
        delivery: Mapping[str, str],
    ) -> str:
        """Return the signed text, held against what else is said."""
        default = "{secret}{body}" if scheme is Scheme.HASH else "{body}"
        signed = self.data.get("signed", default)
        if not isinstance(signed, str) or not signed or len(signed) > 200:
            self.fault("signed", _("must be a text with {body} in it."))
            return default
        if scheme not in _SIGNING:
            return signed
        names = frozenset(_FIELD.findall(signed))
        for name in sorted(names - _FIELDS):
            self.fault("signed", _("has {%(name)s}, which is nothing Hermes knows."), name=name)
        given = {"timestamp": timestamp is not None, "nonce": bool(nonce), "id": bool(delivery)}
        for name, there in given.items():
            if name in names and not there:
                self.fault("signed", _("has {%(name)s}: say where it is found."), name=name)
        if not names & {"body", "form", "timestamp"}:
            self.fault("signed", _("has neither {body} nor {timestamp}: it would fit anything."))
        if timestamp is not None and "timestamp" not in names and not timestamp.path:
            self.fault("timestamp", _("is not part of what is signed, so it proves nothing."))
        if nonce and "nonce" not in names:
            self.fault("nonce", _("is not part of what is signed."))
        if "url" in names and self.data.get("query"):
            self.fault("signed", _("has {url}, which can't hold a signature of itself."))
        if (scheme is Scheme.HASH) != ("secret" in names):
            self.fault("signed", _("has {secret} in a hash, and only there."))
        return signed

    def place(self, key: str, names: frozenset[str] | set[str]) -> dict[str, str]:
        """Return the one place that a mapping names, {} where there is no such mapping."""
        data = self.mapping(key)
        if not data:
            return {}
        if key != "timestamp":
            self.only(key, data, names)
        given = [name for name in sorted(names) if data.get(name)]
        if len(given) != 1:
            self.fault(key, _("say one of: %(names)s."), names=", ".join(sorted(names)))
            return {}
        name = given[0]
        if name == "header":
            return {name: self.header(key, name)}
        return {name: self.text(name, _PATH if name == "path" else _PRINTABLE, key)}

    def greetings(self) -> frozenset[str]:
        """Return the events that wake nobody."""
        found = self.data.get("greetings") or []
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            self.fault("greetings", _("must be a list of names."))
            return frozenset()
        return frozenset(found)

    def header(self, within: str, key: str) -> str:
        """Return a header's name in lower case."""
        return self.text(key, _HEADER, within).lower()

    def text(self, key: str, pattern: re.Pattern[str], within: str = "") -> str:
        """Return a text that the pattern allows, "" where there is none."""
        value = self.at(within).get(key)
        if value is None or value == "":
            return ""
        if not isinstance(value, str) or not pattern.fullmatch(value):
            self.fault(_joined(within, key), _("is not a valid text here."))
            return ""
        return value

    def choice(self, key: str, choices: Iterable[str], default: str, within: str = "") -> str:
        """Return one of the choices."""
        value = self.at(within).get(key)
        if value is None or value == "":
            return default
        if not isinstance(value, str) or value not in choices:
            names = ", ".join(choices)
            self.fault(_joined(within, key), _("must be one of: %(names)s."), names=names)
            return default
        return value

    def at(self, within: str) -> Mapping[Any, Any]:
        """Return the mapping itself or one inside it."""
        return self.mapping(within) if within else self.data

    def mapping(self, key: str) -> Mapping[Any, Any]:
        """Return an inner mapping, {} where there is none."""
        value = self.data.get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self.fault(key, _("must be a mapping."))
            return {}
        return value

    def only(self, within: str, data: Mapping[Any, Any], names: Iterable[str]) -> None:
        """Name every key that means nothing here."""
        for key in data:
            if key not in names:
                self.fault(
                    _joined(within, str(key)[:40]),
                    _("means nothing here; known are: %(names)s."),
                    names=", ".join(sorted(names)),
                )

    def fault(self, path: str, message: str | Promise, **params: str) -> None:
        """Note a fault, once."""
        text = f"{path}: {message % params if params else message}"
        if any(text in fault.messages for fault in self.faults):
            return
        # Django puts the params in, and the path may have a percent sign of its own.
        params = {"path": path}
        text = text.replace("%", "%%")
        self.faults.append(ValidationError(text, code="custom_scheme", params=params))


def _joined(within: str, key: str) -> str:
    return f"{within}.{key}" if within else key
