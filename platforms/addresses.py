"""Keeping stored credentials from an address that they were not entered for."""

from collections.abc import Mapping
from typing import Any


def without_strays(
    config: Mapping[str, Any],
    stored: Mapping[str, Any],
    cleaned: Mapping[str, Any],
    *,
    address: str,
    secrets: tuple[str, ...],
) -> dict[str, Any]:
    """Return a configuration without stored secrets whose server is another one now.

    ``config`` is what would be stored, ``cleaned`` what the form was given, ``address`` the
    field that names the server. Otherwise whoever may change a channel could read its
    credentials: by having them sent to a server of their own.
    """
    if not stored.get(address) or config.get(address) == stored.get(address):
        return dict(config)
    return {
        name: value for name, value in config.items() if name not in secrets or cleaned.get(name)
    }
