"""Acts on a route: a new secret, a signed test."""

import json
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.urls import reverse
from django.utils.functional import cached_property
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act
from deliveries.excerpts import Excerpt, excerpt
from vault.redaction import redact, redact_headers

from .config_files import effective_settings, file_of
from .models import Route
from .presets import tells_secret
from .samples import Request, Sample
from .services import SHOWN_FOR, await_secret, effective_secrets, rotate_secret, secret_to_copy
from .sources import preset_of, spelled
from .trials import NotSent, Posted, post, trial_preset, trial_request, trial_samples
from .workbench import Draft, Given, try_out

OVERLAP = timedelta(hours=24)


class SecretForm(forms.Form):
    """A secret that the sender dictates; mostly it stays empty."""

    secret = forms.CharField(
        label=gettext_lazy("Secret"),
        required=False,
        max_length=512,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=gettext_lazy(
            "Leave it empty: a good one is generated and shown once. Fill it in where the sender "
            "issues the secret itself."
        ),
    )


class NewSecret(Act):
    """Give a route its first secret, or a new one beside the old."""

    slug = "secret"
    label = gettext_lazy("New secret")
    permission = "routes.add_routesecret"
    template = "admin/routes/route/secret.html"
    form_class = SecretForm

    def offered(self) -> bool:
        """Offer it where the secret is kept here."""
        return bool(self.row.origin != Route.Origin.FILE)

    def context(self) -> dict[str, Any]:
        """Explain: which secrets count now, and until when."""
        return {
            "offered": self.offered(),
            "file": file_of(self.row.name) or "config.yaml",
            "secrets": list(self.row.secrets.live()),
        }

    def perform(self, form: Any) -> HttpResponse:
        """Add it; the older ones count for another day."""
        if not self.offered():
            file = file_of(self.row.name) or "config.yaml"
            said = _("The secret of this route is set in %s; change it there.") % file
            return self.done(said, level=messages.ERROR)
        given = form.cleaned_data["secret"].strip()
        secret = rotate_secret(self.row, OVERLAP, given or None)
        if given:
            return self.done(
                _("The secret is stored. Older ones count for another 24 hours."),
                log=_("Gave it a secret of the sender's."),
            )
        self.log(_("Gave it a new secret."))
        return self.shown_once(
            secret,
            title=_("Secret of %(name)s") % {"name": self.row},
            what=_("Give it to the sender of %(name)s. Older secrets count for another 24 hours.")
            % {"name": self.row},
        )


class CopySecret(Act):
    """Show the secret that a source has told, for as long as it has to be pasted back there."""

    slug = "copy-secret"
    label = gettext_lazy("Show the secret it told")
    permission = "routes.add_routesecret"
    template = "admin/routes/route/copy_secret.html"

    def offered(self) -> bool:
        """Offer it while there is one to copy."""
        return secret_to_copy(self.row) is not None

    def context(self) -> dict[str, Any]:
        """Explain: since when it counts, and for how long it can be seen."""
        found = secret_to_copy(self.row)
        until = found.created_at + SHOWN_FOR if found else None
        return {"source": preset_of(self.row), "told": found, "until": until}

    def perform(self, form: Any) -> HttpResponse:
        """Show it in this very answer, and remember who looked."""
        found = secret_to_copy(self.row)
        if found is None:
            said = _("It can't be shown any more. Let the sender send it again.")
            return self.done(said, level=messages.ERROR)
        self.log(_("Looked at the secret that the sender told."))
        response = self._page(self.template, shown=found.value, **self.context())
        response["Cache-Control"] = "no-store"
        return response


class AwaitSecret(Act):
    """Forget the secret that a source has told, so that it can tell another one."""

    slug = "await-secret"
    label = gettext_lazy("Wait for a new secret")
    permission = "routes.add_routesecret"
    template = "admin/routes/route/await_secret.html"

    def offered(self) -> bool:
        """Offer it where the source tells its secret, and has."""
        return tells_secret(self.row.preset) and self.row.secrets.live().exists()

    def context(self) -> dict[str, Any]:
        """Explain: who is refused until then."""
        return {"source": preset_of(self.row), "offered": self.offered()}

    def perform(self, form: Any) -> HttpResponse:
        """End the secrets that count."""
        if not self.offered():
            return self.done(_("Nothing was changed."), level=messages.INFO)
        await_secret(self.row)
        return self.done(
            _("The route waits for its secret. Let the sender send it now."),
            log=_("Let it wait for a new secret."),
        )


class SampleForm(forms.Form):
    """Which of the source's sample events is sent."""

    sample = forms.ChoiceField(label=gettext_lazy("Event"), widget=forms.RadioSelect)

    def __init__(self, samples: list[Sample], route: Route, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(sample.event, _label(sample, route)) for sample in samples]
        self.fields["sample"].choices = choices  # type: ignore[attr-defined]
        self.fields["sample"].initial = choices[0][0]


class SignedTest(Act):
    """Post a sample event of the route's source, signed, and lead to what came of it."""

    slug = "test"
    label = gettext_lazy("Send a signed test")
    permission = "routes.change_route"
    template = "admin/routes/route/test.html"

    @cached_property
    def samples(self) -> list[Sample]:
        """Return what can be sent, what the route asks for first."""
        return trial_samples(self.row)

    def context(self) -> dict[str, Any]:
        """Explain: what will be sent, signed how, and where it goes then."""
        context: dict[str, Any] = {"preset": trial_preset(self.row), "button": _("Send it")}
        try:
            context["requests"] = [
                (sample.event, *self._shown(trial_request(self.row, sample)))
                for sample in self.samples
            ]
        except NotSent as error:
            context["impossible"] = str(error)
        return context

    def perform(self, form: Any) -> HttpResponse:
        """Sign it now and post it; say what the gateway answered."""
        chosen = form.cleaned_data["sample"]
        sample = next(sample for sample in self.samples if sample.event == chosen)
        try:
            posted = post(self.row, trial_request(self.row, sample))
        except NotSent as error:
            return self.done(str(error), level=messages.ERROR)
        level = messages.SUCCESS if posted.status < 300 else messages.ERROR
        return self.done(_outcome(posted), log=_("Sent a signed test: %s.") % chosen, level=level)

    def _form(self, posted: bool) -> forms.Form:
        return SampleForm(self.samples, self.row, self.request.POST if posted else None)

    def _shown(self, request: Request) -> tuple[str, Excerpt]:
        """Return the headers, without what they prove, and the body of a request."""
        headers = redact_headers(request.headers)
        lines = [f"{request.method} {request.url}"]
        lines += [f"{spelled(name)}: {value}" for name, value in headers.items()]
        secrets = effective_secrets(self.row)
        body = redact(request.body.decode(errors="replace"), secrets)
        return redact("\n".join(lines), secrets), excerpt(body.encode())


def _label(sample: Sample, route: Route) -> str:
    """Return the event's name, and what would stop it after the signature."""
    given = Given({}, json.dumps(sample.payload).encode(), sample.event)
    limit = route.max_body_bytes or effective_settings().max_body_bytes
    stop = try_out(route, Draft.of(route), given, preset_of(route), limit).stopped_by
    if stop is None:
        return sample.event
    return _("%(event)s (goes no further: %(step)s)") % {"event": sample.event, "step": stop.name}


def _outcome(posted: Posted) -> str:
    said = _("The gateway answered %(status)s: %(text)s") % {
        "status": posted.status,
        "text": posted.text,
    }
    if posted.event is None:
        return said
    address = reverse("admin:deliveries_event_change", args=[posted.event.pk])
    return format_html('{} <a href="{}">{}</a>', said, address, _("See what came of it"))
