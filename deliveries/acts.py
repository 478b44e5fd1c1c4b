"""Acts: admin pages on one row where GET explains what will happen and POST does it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    BaseAdmin = admin.ModelAdmin[Any]
else:
    BaseAdmin = admin.ModelAdmin


class Act:
    """One thing a person can do to a row; made anew for every request.

    A subclass says when it is `offered`, what the page explains (`context`), and does it
    (`perform`), which answers with `done` or `shown_once`. Without the permission the act is
    not shown and its address answers 403.
    """

    slug: ClassVar[str]  # the last part of the address, and of its name
    label: ClassVar[str | Promise]  # the page's title and the button
    permission: ClassVar[str]  # "agents.recover_agent"
    template: ClassVar[str] = "admin/act.html"
    form_class: ClassVar[type[forms.Form] | None] = None

    def __init__(self, model_admin: "ActsAdmin", request: HttpRequest, row: Any) -> None:
        self.model_admin = model_admin
        self.request = request
        self.row = row

    def offered(self) -> bool:
        """Return whether the row's page shows a link to this act."""
        return True

    def context(self) -> dict[str, Any]:
        """Return what the page's template needs to explain the act."""
        return {}

    def perform(self, form: Any) -> HttpResponse | None:
        """Do it; None shows the page again, with the errors that were put on the form."""
        raise NotImplementedError

    def respond(self) -> HttpResponse:
        """Answer the request: explain on GET, do it on a POST whose form is in order."""
        posted = self.request.method == "POST"
        form = self._form(posted)
        if posted and (form is None or form.is_valid()):
            response = self.perform(form)
            if response is not None:
                return response
        return self._page(self.template, form=form, **self.context())

    def initial(self) -> dict[str, Any]:
        """Return the values that the form starts with."""
        return {}

    def done(self, said: str, *, log: str = "", level: int = messages.SUCCESS) -> HttpResponse:
        """Say what happened, remember it in History (in ``log``'s words), go back to the row."""
        if log:
            self.log(log)
        self.model_admin.message_user(self.request, said, level)
        return HttpResponseRedirect(self.row_url())

    def log(self, sentence: str) -> None:
        """Remember in the row's History who did what."""
        self.model_admin.log_change(self.request, self.row, sentence)

    def shown_once(self, secret: str, **context: Any) -> HttpResponse:
        """Show a secret in this very answer: neither cookies, messages nor caches keep it."""
        response = self._page("admin/once.html", secret=secret, **context)
        response["Cache-Control"] = "no-store"
        return response

    def row_url(self) -> str:
        """Return the address of the row's own page."""
        return reverse(self.model_admin.url_name("change"), args=[quote(self.row.pk)])

    def url(self) -> str:
        """Return the address of this act on this row."""
        return reverse(self.model_admin.url_name(self.slug), args=[quote(self.row.pk)])

    def _form(self, posted: bool) -> forms.Form | None:
        if self.form_class is None:
            return None
        return self.form_class(self.request.POST if posted else None, initial=self.initial())

    def _page(self, template: str, **context: Any) -> TemplateResponse:
        return TemplateResponse(
            self.request,
            template,
            {
                **self.model_admin.admin_site.each_context(self.request),
                "opts": self.model_admin.opts,
                "original": self.row,
                "title": self.label,
                "cancel_url": self.row_url(),
                **context,
            },
        )


class ActsAdmin(BaseAdmin):
    """A model's admin with acts; the row's page links those that are offered."""

    acts: ClassVar[Sequence[type[Act]]] = ()

    def url_name(self, page: str) -> str:
        """Return the name under which a page of this model is found: ``admin:app_model_page``."""
        return f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{page}"

    def get_urls(self) -> list[URLPattern]:
        """Return Django's addresses with one per act before them."""
        return [
            path(
                f"<path:object_id>/{act.slug}/",
                self.admin_site.admin_view(self._view_of(act)),
                name=f"{self.opts.app_label}_{self.opts.model_name}_{act.slug}",
            )
            for act in self.acts
        ] + super().get_urls()

    def offered_acts(self, request: HttpRequest, row: Any) -> list[Act]:
        """Return the acts that this person can do to this row now."""
        made = (act(self, request, row) for act in self.acts)
        return [act for act in made if request.user.has_perm(act.permission) and act.offered()]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Render the row's page with its acts."""
        row = context.get("original")
        if row is not None:
            context["acts"] = self.offered_acts(request, row)
        return super().render_change_form(request, context, *args, **kwargs)

    def _view_of(self, act: type[Act]) -> Any:
        def view(request: HttpRequest, object_id: str) -> HttpResponse:
            if not request.user.has_perm(act.permission):
                raise PermissionDenied
            row = self.get_object(request, unquote(object_id))
            if row is None:
                raise Http404(_("There is no such row; it may have been deleted."))
            if not self.has_view_permission(request, row):
                raise PermissionDenied
            return act(self, request, row).respond()

        return view
