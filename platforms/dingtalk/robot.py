"""A group's custom robot: an address that is a credential, and how what is sent there is signed.

https://open.dingtalk.com/document/robots/customize-robot-security-settings
"""

import base64
import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _

from deliveries.outbound import validate_outbound_url
from platforms import pacing
from platforms.fields import SecretField

from .answers import SECURITY, Answer

PATH = "/robot/send"
TOKEN = re.compile(r"[0-9a-f]{64}")
# 20 a minute, and then ten minutes of silence: so never more than these in any minute.
RATE = pacing.Rate(10 / 60, 10)


class RobotURLField(SecretField):
    """The address of a custom robot's webhook; whoever knows it may post, so it is never shown."""

    def clean(self, value: Any) -> str:
        """Return the address; raise ValidationError for one of another shape, or inside."""
        url = str(super().clean(value) or "")
        if not url:
            return ""
        if urlsplit(url).path != PATH or not TOKEN.fullmatch(token_in(url)):
            raise forms.ValidationError(
                _("A robot's address looks like https://oapi.dingtalk.com/robot/send?…"),
                code="invalid",
            )
        if urlsplit(url).scheme != "https" and not settings.OUTBOUND_ALLOW_PRIVATE:
            raise forms.ValidationError(_("Use https: the address is a secret."), code="insecure")
        validate_outbound_url(url)
        return url


def token_in(url: str) -> str:
    """Return the part of a robot's address that is the secret; empty if there is none."""
    return parse_qs(urlsplit(url).query).get("access_token", [""])[0]


def sign(secret: str, timestamp: int) -> str:
    """Return a robot's signature; ``timestamp`` is in milliseconds, good for an hour."""
    signed = f"{timestamp}\n{secret}".encode()
    return base64.b64encode(hmac.digest(secret.encode(), signed, hashlib.sha256)).decode()


def signed_address(url: str, secret: str, now: float) -> str:
    """Return the address to post to at a moment, in seconds since 1970; as it is if unsigned."""
    if not secret:
        return url
    timestamp = round(now * 1000)
    query = urlencode({"timestamp": timestamp, "sign": sign(secret, timestamp)})
    return f"{url}&{query}"


def with_keyword(text: str, keyword: str) -> str:
    """Return a text with the word in it that a robot's security settings ask for."""
    return text if keyword in text else f"{text}\n\n{keyword}"


def clock_of(answer: Answer) -> float | None:
    """Return DingTalk's time if our own was refused; seconds since 1970, None otherwise."""
    words = answer.words.lower()
    if answer.number != SECURITY or not ("sign" in words or "timestamp" in words):
        return None
    said = _date(answer.reply.headers)
    return said if said is not None and abs(said - time.time()) > 1 else None


def _date(headers: Mapping[str, str]) -> float | None:
    try:
        return parsedate_to_datetime(headers["Date"]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
