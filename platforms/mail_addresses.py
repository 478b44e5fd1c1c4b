"""Addresses of mail, and of mail servers, as people enter them."""

import re

import idna
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.utils.translation import gettext as _

from deliveries.outbound import BlockedUrl, NameNotResolved, Policy
from deliveries.outbound.urls import SAVE_TIME_LOOKUP_SECONDS, resolve

HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}", re.ASCII)
ANY_PORT = 587  # for a lookup that nobody connects to


def addresses_of(text: str) -> list[str]:
    """Return the addresses of a list with commas, each once, as they go on the wire.

    Raises ValidationError for what is no address.
    """
    found: dict[str, None] = {}
    for one in text.split(","):
        address = one.strip()
        validate_email(address)
        name, _at, domain = address.rpartition("@")
        if not domain.isascii():
            domain = idna.encode(domain, uts46=True).decode()
        found[f"{name}@{domain}"] = None
    return list(found)


def validate_addresses(text: str) -> None:
    """Refuse what is no list of addresses; a validator."""
    try:
        addresses_of(text)
    except (ValidationError, idna.IDNAError):
        raise ValidationError(_("Enter addresses with commas between them.")) from None


def validate_host(host: str) -> None:
    """Refuse a mail server that is inside; a validator."""
    if not HOST.fullmatch(host):
        raise ValidationError(_("Enter the name of a mail server, such as smtp.example.com."))
    try:
        resolve(host, ANY_PORT, Policy.PUBLIC, SAVE_TIME_LOOKUP_SECONDS)
    except NameNotResolved:
        return  # asked again by every send
    except BlockedUrl as error:
        raise ValidationError(str(error), code="blocked") from None
