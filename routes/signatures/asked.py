"""A request as the schemes look at it: the values that a record says where to find."""

from collections.abc import Mapping
from functools import cached_property
from urllib.parse import parse_qsl

from routes.parsing import FORM_TYPE, MAX_FORM_FIELDS, Unparseable, media_type, parse_body
from routes.paths import parse_path, walk
from routes.presets.reading import text_at
from routes.presets.record import Preset

from .encryption import hidden_text
from .verdicts import Address

# In a path: every item of a list.
EVERY = "*"

# A header may list several signatures (rotation, versions); more than this nobody sends.
MAX_SIGNATURES = 8


class Asked:
    """One request; what is in its body is parsed only when a record asks for it."""

    def __init__(
        self, preset: Preset, headers: Mapping[str, str], body: bytes, at: Address
    ) -> None:
        self.preset, self.headers, self.body, self.at = preset, headers, body, at

    @cached_property
    def payload(self) -> object:
        """Return what the body says, None where it can't be read."""
        try:
            return parse_body(self.body, self.headers.get("content-type", ""), xml=self.preset.xml)
        except Unparseable:
            return None

    @cached_property
    def query(self) -> Mapping[str, str]:
        """Return the parameters of the URL, each in its first value; none where they are odd."""
        try:
            found = parse_qsl(self.at.query, keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS)
        except ValueError:
            return {}
        return dict(reversed(found))

    def claims(self) -> list[bytes]:
        """Return the signatures that are claimed, as they stand; an empty header is none."""
        preset = self.preset
        headers = (preset.header, *preset.other_headers)
        found = [on_the_wire(value) for name in headers if (value := self.headers.get(name))]
        if preset.query and (value := self.query.get(preset.query)):
            found.append(in_text(value))
        for path in preset.paths:
            if values := self._texts(path):
                return found + [in_text(value) for value in values]
        return found

    def timestamp(self) -> str:
        """Return the time of signing as it was written, "" where it is not there."""
        place = self.preset.timestamp
        if place is None:
            return ""
        if place.query:
            return self.query.get(place.query, "")
        if place.path:
            return text_at(self.payload, (place.path,))
        value = self.headers.get(place.header, "")
        return self._part(value, place.part) if place.part else value

    def delivery_id(self) -> str:
        """Return the id that the signature covers, "" where it is not there."""
        if self.preset.id_headers:
            return self.headers.get(self.preset.id_headers[0], "")
        return text_at(self.payload, self.preset.id_paths)

    def nonce(self) -> bytes:
        """Return the sender's random text, b"" where it is not there."""
        if self.preset.nonce_query:
            return in_text(self.query.get(self.preset.nonce_query, ""))
        return on_the_wire(self.headers.get(self.preset.nonce_header, ""))

    def hidden(self) -> str:
        """Return the encrypted text that the body carries, "" where it is not there."""
        return hidden_text(self.preset.encryption, self.payload) if self.preset.encryption else ""

    def form(self) -> bytes:
        """Return the form's names and values, sorted by name and joined; b"" for another body.

        https://www.twilio.com/docs/usage/security: of a field given twice each value counts once.
        """
        return b"".join(
            in_text(name) + in_text(value) for name, value in sorted(set(self._fields()))
        )

    @property
    def is_form(self) -> bool:
        """Return whether the body is one that `form` covers: a form, or nothing at all."""
        kind = media_type(self.headers.get("content-type", ""))
        return not self.body or kind == FORM_TYPE

    def _fields(self) -> list[tuple[str, str]]:
        if not self.is_form:
            return []
        try:
            return parse_qsl(
                self.body.decode(), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS
            )
        except ValueError:
            return []

    def _part(self, value: str, part: str) -> str:
        for item in value.split(self.preset.separator, MAX_SIGNATURES):
            if item.strip().startswith(part):
                return item.strip().removeprefix(part)
        return ""

    def _texts(self, path: str) -> list[str]:
        before, star, after = path.partition(EVERY)
        if not star:
            value = text_at(self.payload, (path,))
            return [value] if value else []
        items = walk(self.payload, parse_path(before.rstrip("."))) if before else self.payload
        # An item without a value claims nothing, and nothing is not good.
        rest = (after.lstrip("."),)
        return [text_at(item, rest) for item in items] if isinstance(items, list) else []


def on_the_wire(value: str) -> bytes:
    """Return the bytes that a header's value was; text that no wire carries, as UTF-8."""
    try:
        return value.encode("latin-1")
    except UnicodeEncodeError:
        return in_text(value)


def in_text(value: str) -> bytes:
    """Return a text of a body or a URL as bytes; half characters, too, which JSON can spell."""
    return value.encode("utf-8", "surrogatepass")
