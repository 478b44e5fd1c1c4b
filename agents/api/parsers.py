"""JSON bodies, read with a limit."""

import json
from collections.abc import Mapping
from io import BytesIO
from typing import IO, Any

from django.utils.translation import gettext_lazy as _
from rest_framework import status
from rest_framework.exceptions import APIException, ParseError
from rest_framework.parsers import JSONParser

# A message may have 1 MB (agents.services.messages) and its frame a little.
BODY_LIMIT = 1_048_576 + 4096  # bytes


class BodyTooLarge(APIException):
    """413: the body is above the limit; nothing of it was kept."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = _("The body is too large.")
    default_code = "too_large"


class BoundedJSONParser(JSONParser):
    """Reads no more of a body than it may have, whatever Content-Length says."""

    def parse(
        self,
        stream: IO[Any],
        media_type: str | None = None,
        parser_context: Mapping[str, Any] | None = None,
    ) -> Any:
        body = stream.read(BODY_LIMIT + 1)
        if len(body) > BODY_LIMIT:
            raise BodyTooLarge
        try:
            content = super().parse(BytesIO(body), media_type, parser_context)
            if rb"\ud" in body.lower():
                json.dumps(content, ensure_ascii=False).encode()
        except RecursionError:
            raise ParseError(_("The JSON is nested too deeply.")) from None
        except UnicodeEncodeError:
            # An answer that quotes it could not be written, nor could a row.
            raise ParseError(_("The JSON holds half of a surrogate pair.")) from None
        return content
