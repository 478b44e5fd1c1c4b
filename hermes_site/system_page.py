"""The admin's *System* page: what ``manage.py doctor`` finds, and what the gateway runs on."""

import platform
from collections.abc import Iterator

import django
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_safe

from deliveries.models import Runner

from .doctor import examine, worst
from .findings import Level

# How a level is shown: the tone of its mark, and its word.
MARKS = {
    Level.OK: ("ok", gettext_lazy("well")),
    Level.WARN: ("warn", gettext_lazy("look")),
    Level.FAIL: ("bad", gettext_lazy("failed")),
}


@require_safe
def system(request: HttpRequest) -> HttpResponse:
    """Show the findings to a superuser: they name files, hosts and settings."""
    if not getattr(request.user, "is_superuser", False):
        raise PermissionDenied
    findings = examine()
    # What needs somebody first; else in the order of the examinations.
    order = [Level.FAIL, Level.WARN, Level.OK]
    shown = sorted(findings, key=lambda one: order.index(one.level))
    context = admin.site.each_context(request) | {
        "title": _("System"),
        "findings": [(one, *MARKS[one.level]) for one in shown],
        "worst": worst(findings),
        "facts": list(_facts()),
    }
    return TemplateResponse(request, "admin/system.html", context)


def _facts() -> Iterator[tuple[str, str]]:
    yield _("Python, Django"), f"{platform.python_version()}, {django.__version__}"
    yield _("Database"), _database()
    runners = {"count": Runner.objects.count(), "wanted": settings.RUNNERS}
    yield _("Runners"), _("%(count)d of %(wanted)d") % runners
    yield _("Data folder"), str(settings.HERMES_DATA_DIR)
    yield _("Public address"), settings.PUBLIC_URL
    days = settings.LEDGER_DAYS
    yield _("History is kept for"), ngettext("%d day", "%d days", days) % days
    hours = settings.PENDING_HOURS
    yield _("What waits is dropped after"), ngettext("%d hour", "%d hours", hours) % hours
    yield _("Time zone"), settings.TIME_ZONE


def _database() -> str:
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        else:
            cursor.execute("SELECT pg_database_size(current_database())")
        size = number_format(cursor.fetchone()[0] / 1024**2, 1)
    return _("%(kind)s, %(size)s MB") % {"kind": connection.display_name, "size": size}
