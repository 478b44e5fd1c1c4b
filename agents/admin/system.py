"""The system agent in the admin: a box for a sentence, an answer, a form to confirm."""

from typing import Any

from django import forms
from django.contrib.admin.utils import quote
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from agents.grammar import LIMIT
from agents.models import Agent
from agents.services.decisions import describe, permission_for, title_of
from agents.services.system import EXAMPLES, Reply, converse


class SentenceForm(forms.Form):
    """What is said. It is not shown again: it may hold a secret."""

    sentence = forms.CharField(
        label=_("Say what you want"),
        max_length=LIMIT,
        widget=forms.Textarea(attrs={"rows": 3, "autocomplete": "off", "autofocus": True}),
        help_text=_(
            "In English or Chinese. Nothing is changed before you have confirmed it on a form."
        ),
    )


@sensitive_post_parameters("sentence")
def system_page(request: HttpRequest, model_admin: Any) -> HttpResponse:
    """Show the box; on POST also the answer to the sentence."""
    form, reply = SentenceForm(request.POST or None), None
    if request.method == "POST" and form.is_valid():
        reply = converse(
            form.cleaned_data["sentence"],
            by=request.user.get_username(),
            may=request.user.has_perm,
        )
        form = SentenceForm()
    context = model_admin.admin_site.each_context(request) | {
        "opts": Agent._meta,
        "title": _("System agent"),
        "form": form,
        "reply": reply,
        "examples": EXAMPLES,
        **(_form_of(reply, request) if reply else {}),
    }
    response = TemplateResponse(request, "admin/agents/system.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _form_of(reply: Reply, request: HttpRequest) -> dict[str, Any]:
    """Return what the page shows of the form that a sentence led to."""
    artifact = reply.artifact
    if artifact is None or not request.user.has_perm(permission_for(artifact)):
        return {}
    return {
        "form_title": title_of(artifact),
        "agent": artifact.agent,
        "change": describe(artifact),
        "decide_url": reverse("admin:agents_artifact_decide", args=[quote(artifact.pk)]),
    }
