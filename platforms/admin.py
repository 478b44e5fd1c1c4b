"""Channels in the admin: choose a platform, fill in its form, test the connection."""

from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act
from deliveries.lists import TunedAdmin, state_mark

from .destinations import sender_of, unreadable
from .dingtalk import KIND as DINGTALK
from .dingtalk.acts import ChooseAgent
from .dingtalk.overview import session_lines
from .forms import SenderForm, fieldsets_for, form_for
from .models import Channel
from .registry import senders
from .sender import Sender
from .services import save_config, test_connection


class TestConnection(Act):
    """Asks the platform whether the channel's credentials are good."""

    slug = "test"
    label = gettext_lazy("Test connection")
    permission = "platforms.test_channel"
    template = "admin/platforms/channel/test.html"

    def context(self) -> dict[str, Any]:
        """Return what will be called."""
        sender = sender_of(self.row)
        return {"sender": sender, "address": sender.called_address() if sender else ""}

    def perform(self, form: Any) -> HttpResponse:
        """Call it, and say what came back."""
        check = test_connection(self.row)
        found = {"name": self.row.name, "detail": check.detail}
        if check.ok:
            said = _("“%(name)s” works: %(detail)s") % found
            return self.done(said, log=_("Connection tested: it works."))
        said = _("“%(name)s” was tested without success: %(detail)s") % found
        log = _("Connection tested without success: %s") % check.detail
        return self.done(said, log=log, level=messages.ERROR)


@admin.register(Channel)
class ChannelAdmin(TunedAdmin):
    """Configured places; secrets are written here and never read back."""

    list_display = ("state", "name", "platform", "home_place", "checked_at")
    list_display_links = ("name",)
    list_filter = ("health", "enabled")
    search_fields = ("name", "kind")
    empty_value_display = "–"
    ordering = ("name",)
    acts = (TestConnection, ChooseAgent)
    empty_text: ClassVar[str | Promise] = gettext_lazy(
        "No channel yet. Add one for each place that messages should go to."
    )

    @admin.display(description=gettext_lazy("state"))
    def state(self, channel: Channel) -> str:
        """Return the health of a channel, or that it is off."""
        if not channel.enabled:
            return state_mark("off", _("off"))
        return state_mark(channel.health, channel.get_health_display())

    @admin.display(description=gettext_lazy("platform"))
    def platform(self, channel: Channel) -> str:
        """Return the platform's name."""
        sender = senders().get(channel.kind)
        return str(sender.label) if sender else channel.kind

    @admin.display(description=gettext_lazy("home"))
    def home_place(self, channel: Channel) -> str:
        """Return where messages go by default."""
        return " · ".join(str(value) for value in channel.home.values())

    def get_queryset(self, request: HttpRequest) -> QuerySet[Channel]:
        """Return the channels without their configuration, which one page alone reads."""
        rows: QuerySet[Channel] = super().get_queryset(request)
        return rows.defer("config")

    def get_fieldsets(self, request: HttpRequest, obj: Channel | None = None) -> Any:
        """Return the platform's fields; to who may only look, those that every channel has."""
        if not self.has_change_permission(request, obj) and obj is not None:
            return fieldsets_for(None)
        return fieldsets_for(self._sender(request, obj), adding=obj is None)

    def get_form(
        self, request: HttpRequest, obj: Channel | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Return the form of the channel's platform."""
        return form_for(self._sender(request, obj))

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or take the form, without the transaction that Django opens before it is checked.

        Checking an address asks the DNS, and on SQLite nobody else could write meanwhile. Saving
        has a transaction of its own.
        """
        response: HttpResponse = self._changeform_view(  # type: ignore[attr-defined]
            request, object_id, form_url, extra_context
        )
        return response

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Let a platform be chosen first, by a link; then show its form."""
        sender = self._sender(request, None)
        if sender is None and self.has_add_permission(request):
            context = {
                **self.admin_site.each_context(request),
                "opts": self.opts,
                "title": _("Add a channel: which platform?"),
                "senders": senders().values(),
            }
            return TemplateResponse(request, "admin/platforms/channel/choose.html", context)
        title = _("Add channel: %s") % sender.label if sender else ""
        return super().add_view(request, form_url, {"title": title, **(extra_context or {})})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show the channel's state beside its form."""
        channel = self.get_object(request, object_id)
        context: dict[str, Any] = {}
        if channel is not None:
            readable = channel.readable_config() is not None
            has_sessions = channel.kind == DINGTALK and readable
            context = {
                "state": self.state(channel),
                "platform": self.platform(channel),
                "is_known": channel.kind in senders(),
                "problem": "" if readable else unreadable(channel.name),
                "sessions": session_lines(channel) if has_sessions else None,
            }
        return super().change_view(
            request, object_id, form_url, {**context, **(extra_context or {})}
        )

    def save_model(self, request: HttpRequest, obj: Channel, form: Any, change: bool) -> None:
        """Save by the service; a secret that it generated is shown with the answer."""
        if not isinstance(form, SenderForm):
            super().save_model(request, obj, form, change)
            return
        if not change:
            obj.kind = form.sender.kind
        generated = save_config(obj, form.config, form.home)
        request.__dict__["generated_secret"] = next(iter(generated.values()), "")

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Channel]) -> None:
        """Delete one by one, as each has a lane to tell."""
        for channel in queryset:
            channel.delete()

    def response_add(
        self, request: HttpRequest, obj: Channel, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Answer as Django does, but show a generated secret first."""
        response = super().response_add(request, obj, post_url_continue)
        return self._showing_secret(request, obj, response)

    def response_change(self, request: HttpRequest, obj: Channel) -> HttpResponse:
        """Answer as Django does, but show a generated secret first."""
        return self._showing_secret(request, obj, super().response_change(request, obj))

    def _showing_secret(
        self, request: HttpRequest, channel: Channel, otherwise: HttpResponse
    ) -> HttpResponse:
        secret = request.__dict__.pop("generated_secret", "")
        if not secret:
            return otherwise
        act = TestConnection(self, request, channel)
        what = _("The signing secret of “%s”. Whoever receives its messages checks them with it.")
        return act.shown_once(secret, title=_("Signing secret"), what=what % channel.name)

    def _sender(self, request: HttpRequest, channel: Channel | None) -> type[Sender] | None:
        kind = channel.kind if channel else request.GET.get("kind", "")
        return senders().get(kind)
