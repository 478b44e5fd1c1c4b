"""Redeliver: one delivery again, or many."""

from typing import Any

from django.contrib import messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from deliveries.acts import Act, ActsAdmin
from deliveries.models import Delivery, Lane
from deliveries.services import redeliver

PERMISSION = "deliveries.redeliver_delivery"
# One transaction each, while a person waits.
AT_ONCE = 1000


class Redeliver(Act):
    """Send one delivery again, now, whatever became of it."""

    slug = "redeliver"
    label = gettext_lazy("Redeliver")
    permission = PERMISSION
    template = "admin/deliveries/delivery/redeliver.html"

    def context(self) -> dict[str, Any]:
        """Explain: where to, and whether it will have to wait."""
        lane: Lane = self.row.lane
        return {
            "held": lane.state == Lane.State.HELD,
            "again": self.row.status == Delivery.Status.DELIVERED,
            "skipped": self.row.status == Delivery.Status.SKIPPED,
        }

    def perform(self, form: Any) -> HttpResponse:
        """Redeliver, unless it is in flight at this moment."""
        if not redeliver(self.row):
            return self.done(
                _("It is being sent at this moment; look again in a few seconds."),
                level=messages.WARNING,
            )
        said = (
            _("It waits until %(place)s takes deliveries again.")
            if self.row.lane.state == Lane.State.HELD
            else _("It is on its way to %(place)s again.")
        )
        return self.done(said % {"place": self.row.lane.label}, log=_("Redelivered."))


def redeliver_selected(
    model_admin: ActsAdmin, request: HttpRequest, queryset: QuerySet[Delivery]
) -> HttpResponse | None:
    """Explain on the first post, redeliver on the confirmed one: Django's own way with actions."""
    rows = list(queryset.order_by("pk")[: AT_ONCE + 1])
    if len(rows) > AT_ONCE:
        message = _("Select at most %(count)d deliveries at a time.") % {"count": AT_ONCE}
        model_admin.message_user(request, message, messages.ERROR)
        return None
    if "confirmed" not in request.POST:
        return TemplateResponse(
            request,
            "admin/deliveries/delivery/redeliver_selected.html",
            {
                **model_admin.admin_site.each_context(request),
                "opts": model_admin.opts,
                "title": _("Redeliver"),
                "rows": rows,
                "shown": rows[:20],
                "places": sorted({row.lane.label for row in rows}),
                "delivered": sum(row.status == Delivery.Status.DELIVERED for row in rows),
                "checkbox": ACTION_CHECKBOX_NAME,
                "cancel_url": request.get_full_path(),
            },
        )
    sent = [row for row in rows if redeliver(row)]
    if sent:
        # The stubs want a queryset; Django only loops over it.
        LogEntry.objects.log_actions(request.user.pk, sent, CHANGE, _("Redelivered."))  # type: ignore[arg-type]
    said = ngettext(
        "%(count)d delivery is on its way again.",
        "%(count)d deliveries are on their way again.",
        len(sent),
    ) % {"count": len(sent)}
    model_admin.message_user(request, said, messages.SUCCESS)
    if busy := len(rows) - len(sent):
        said = ngettext(
            "%(count)d is being sent at this moment and was left alone.",
            "%(count)d are being sent at this moment and were left alone.",
            busy,
        ) % {"count": busy}
        model_admin.message_user(request, said, messages.WARNING)
    return None
