"""A payload as its source writes it: JSON, a form, or XML."""

from collections.abc import Mapping
from urllib.parse import urlencode
from xml.sax.saxutils import escape

import orjson

from routes.presets import Preset

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
XML = "text/xml"


def content_type_of(preset: Preset) -> str:
    """Return how this source writes its bodies."""
    if "{form}" in preset.signed:
        return FORM
    return XML if preset.xml else JSON


def body_of(payload: object, content_type: str) -> bytes:
    """Return the bytes of a payload; what is no flat object goes as JSON whatever was asked."""
    if content_type == FORM and isinstance(payload, Mapping):
        return urlencode({str(name): str(value) for name, value in payload.items()}).encode()
    if content_type == XML and isinstance(payload, Mapping):
        fields = (f"<{name}>{escape(str(value))}</{name}>" for name, value in payload.items())
        return f"<xml>{''.join(fields)}</xml>".encode()
    return orjson.dumps(payload)
