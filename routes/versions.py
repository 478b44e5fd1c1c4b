"""The version of what the receive path keeps in memory."""

from typing import Any

from django.db.models import F

from .models import RouteVersion

_changes = 0


def changes_here() -> int:
    """Return how many changes this very process has made; the version tells of the others'."""
    return _changes


def bump_version(**_signal: Any) -> None:
    """Let every process load its routes anew; call it in the transaction of the change.

    Saving or deleting a route, its secret, a channel or an agent does so by itself (see
    `RoutesConfig.ready`); `QuerySet.update` and bulk writes do not.
    """
    global _changes
    _changes += 1
    if not RouteVersion.objects.update(version=F("version") + 1):
        RouteVersion.objects.bulk_create([RouteVersion(version=1)], ignore_conflicts=True)


def lock_version() -> None:
    """Let one process at a time write routes from the file; ends with the transaction."""
    RouteVersion.objects.bulk_create([RouteVersion()], ignore_conflicts=True)
    RouteVersion.objects.select_for_update().get()
