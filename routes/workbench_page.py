"""The page of the prompt workbench: choose an event, edit a draft, see what would become of it."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import HttpResponse
from django.utils.functional import cached_property
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.acts import Act
from deliveries.excerpts import LIMIT, Excerpt, excerpt
from deliveries.models import Event, Payload

from .config_files import effective_settings, file_of
from .form_fields import FiltersField
from .lint import misspellings
from .models import Route
from .parsing import Unparseable, parse_body
from .samples import samples
from .selectors import last_bodies, last_events
from .sources import preset_of
from .targets import unknown_target
from .trials import trial_preset
from .workbench import Draft, Given, Trial, difference, lint, settings_text, try_out

CHOICES = 20
LINTED = 100
PASTED = "pasted"
# A form can't carry more; what is bigger has no place on a page.
PASTED_CHARACTERS = 1_000_000


class WorkbenchForm(forms.Form):
    """An event, and what of the route is tried on it."""

    event = forms.ChoiceField(label=gettext_lazy("Event"))
    headers = forms.CharField(
        label=gettext_lazy("Headers"),
        required=False,
        max_length=20_000,
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false", "class": "mono"}),
        help_text=gettext_lazy("One a line, as “X-GitHub-Event: push”. May stay empty."),
    )
    body = forms.CharField(
        label=gettext_lazy("Body"),
        required=False,
        strip=False,
        max_length=PASTED_CHARACTERS,
        widget=forms.Textarea(attrs={"rows": 6, "spellcheck": "false", "class": "mono"}),
    )
    prompt = forms.CharField(
        label=gettext_lazy("Prompt"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 10, "spellcheck": "false"}),
        help_text=gettext_lazy(
            "{a.b} takes a field of the payload, {__raw__} the whole. Empty: the whole payload."
        ),
    )
    fence = forms.BooleanField(label=gettext_lazy("Mark payload text as data"), required=False)
    filters = FiltersField()
    conversation_key = forms.CharField(
        label=gettext_lazy("Conversation key"),
        required=False,
        max_length=255,
        help_text=gettext_lazy(
            "As {repository.full_name}#{number}. Empty: each event has a conversation of its own."
        ),
    )

    def clean_headers(self) -> dict[str, str]:
        """Return the headers by their lower-case names; raise ValidationError for other lines."""
        headers = {}
        for line in filter(None, map(str.strip, self.cleaned_data["headers"].splitlines())):
            name, colon, value = line.partition(":")
            if not colon or not name.strip():
                raise ValidationError(_("“%s” is no header; write “Name: value”.") % line[:60])
            headers[name.strip().lower()] = value.strip()
        return headers

    def clean_prompt(self) -> str:
        """Return the prompt with the line breaks of a stored one; browsers send two characters."""
        return str(self.cleaned_data["prompt"]).replace("\r\n", "\n")

    def clean(self) -> dict[str, Any]:
        """Ask for a body where none of the stored events was chosen."""
        data = super().clean() or self.cleaned_data
        if data.get("event") == PASTED and not data.get("body", "").strip():
            self.add_error("body", _("Paste the body of an event, or choose another one above."))
        return data

    def draft(self) -> Draft:
        """Return what is to be tried; the form is valid."""
        data = self.cleaned_data
        return Draft(data["prompt"], data["filters"], data["fence"], data["conversation_key"])


class Workbench(Act):
    """Try a draft of the route on an event; nothing is stored or sent, but by *Save*."""

    slug = "workbench"
    label = gettext_lazy("Workbench")
    permission = "routes.view_route"
    template = "admin/routes/route/workbench.html"

    def respond(self) -> HttpResponse:
        """Show the trial of the newest event on GET, of the draft on POST; save only if told."""
        if self.request.method != "POST":
            form = WorkbenchForm(initial=self.initial())
            self._offer_events(form)
            given = self._given(form.initial["event"], {}, "")
            return self._shown(form, Draft.of(self.row), given)
        form = WorkbenchForm(self.request.POST)
        self._offer_events(form)
        if not form.is_valid():
            return self._page(self.template, form=form, **self._always())
        if "save" in self.request.POST:
            return self._save(form.draft())
        data = form.cleaned_data
        given = self._given(data["event"], data["headers"], data["body"])
        return self._shown(form, form.draft(), given)

    def initial(self) -> dict[str, Any]:
        """Return what is saved, and the newest event."""
        return {
            "event": self._choices[0][1][0][0],
            "prompt": self.row.prompt,
            "fence": self.row.fence,
            "filters": self.row.filters,
            "conversation_key": self.row.conversation_key,
        }

    @property
    def may_save(self) -> bool:
        """Return whether this person may change this route."""
        return bool(self.model_admin.has_change_permission(self.request, self.row))

    @cached_property
    def _choices(self) -> list[tuple[Any, list[tuple[str, Any]]]]:
        """Return the events to choose from, in groups; none is empty."""
        preset = trial_preset(self.row)
        groups: list[tuple[Any, list[tuple[str, Any]]]] = [
            (_("Samples"), [(f"sample:{one.event}", one.event) for one in samples(preset.name)]),
            (_("Other"), [(PASTED, _("the one pasted below"))]),
        ]
        if self.request.user.has_perm("deliveries.view_event"):
            stored = [
                (str(event.pk), f"{event.type}, {event.received_at:%Y-%m-%d %H:%M:%S}")
                for event in last_events(self.row, CHOICES)
            ]
            if stored:
                groups.insert(0, (_("Newest first"), stored))
        return groups

    def _offer_events(self, form: WorkbenchForm) -> None:
        form.fields["event"].choices = self._choices  # type: ignore[attr-defined]

    def _given(self, chosen: str, headers: Mapping[str, str], body: str) -> Given | None:
        """Return the chosen event; None where retention has taken its body meanwhile."""
        if chosen == PASTED:
            return Given(headers, body.encode("utf-8", "replace"))
        if chosen.startswith("sample:"):
            name = chosen.removeprefix("sample:")
            for sample in samples(trial_preset(self.row).name):
                if sample.event == name:
                    return Given({}, json.dumps(sample.payload).encode(), name)
        event = Event.objects.get(pk=UUID(chosen))
        payload = Payload.objects.filter(pk=event.pk).first()
        if payload is None:
            return None
        kept = {name.lower(): value for name, value in event.headers.items()}
        # It was read once; what it came as is no longer its content type.
        kept.pop("content-type", None)
        return Given(kept, bytes(payload.body), event.type)

    def _shown(self, form: WorkbenchForm, draft: Draft, given: Given | None) -> HttpResponse:
        context = self._always()
        if given is not None:
            saved = Draft.of(self.row)
            trial = self._trial(draft, given)
            before = trial if draft == saved else self._trial(saved, given)
            context |= {
                "trial": trial,
                "prompt": _readable(trial),
                "changes": difference(settings_text(saved), settings_text(draft)),
                "prompt_changes": difference(before.prompt or "", trial.prompt or ""),
                "verdict_before": before.stopped_by if draft != saved else None,
                "differs": draft != saved,
                "places": [(place, unknown_target(place.deliver)) for place in trial.places],
                "body": excerpt(given.body),
            }
        payloads = self._payloads()
        context |= {
            "lacks": lint(draft.prompt, payloads),
            "linted": len(payloads),
            "misspellings": misspellings(draft.prompt),
        }
        return self._page(self.template, form=form, gone=given is None, **context)

    def _trial(self, draft: Draft, given: Given) -> Trial:
        limit = self.row.max_body_bytes or effective_settings().max_body_bytes
        return try_out(self.row, draft, given, preset_of(self.row), limit)

    def _always(self) -> dict[str, Any]:
        from_file = self.row.origin == Route.Origin.FILE
        return {
            "may_save": self.may_save,
            "file": (file_of(self.row.name) or "config.yaml") if from_file else "",
        }

    def _payloads(self) -> list[object]:
        """Return what the newest events said, those that can still be read."""
        payloads = []
        for body in last_bodies(self.row, LINTED):
            try:
                payloads.append(parse_body(body))
            except Unparseable:
                continue
        return payloads

    def _save(self, draft: Draft) -> HttpResponse:
        if not self.may_save:
            raise PermissionDenied
        route = self.row
        if draft == Draft.of(route):
            return self.done(_("Nothing was changed."), level=messages.INFO)
        route.prompt, route.filters = draft.prompt, draft.filters
        route.fence, route.conversation_key = draft.fence, draft.conversation_key
        route.save(update_fields=[
            "prompt", "filters", "fence", "conversation_key", "updated_at",
        ])  # fmt: skip
        return self.done(_("The draft is saved."), log=_("Saved a draft of the workbench."))


def _readable(trial: Trial) -> Excerpt | None:
    """Return the prompt as it stands, at most a screenful or ten; None without one."""
    if trial.prompt is None:
        return None
    size = len(trial.prompt.encode())
    return Excerpt(text=trial.prompt[:LIMIT], size=size, cut=len(trial.prompt) > LIMIT)
