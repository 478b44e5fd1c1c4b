"""The page on which a person answers an agent: reached by a signed link, without a login."""

from contextlib import suppress

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from .models import Artifact
from .questions import answer_form
from .services.artifacts import BY_LINK, DecisionRefused, answer, find_by_link, is_open


@never_cache
@sensitive_post_parameters()
@require_http_methods(["GET", "HEAD", "POST"])
def artifact_page(request: HttpRequest, signed_id: str) -> HttpResponse:
    """Show the question, take one answer, and say afterwards no more than that there was one."""
    artifact = find_by_link(signed_id)
    if artifact is None:
        return render(request, "artifacts/page.html", {"artifact": None}, status=404)
    form = answer_form(artifact.form)(
        request.POST if request.method == "POST" else None, prefix="answer"
    )
    if request.method == "POST" and is_open(artifact) and form.is_valid():
        with suppress(DecisionRefused):  # somebody was quicker; the page says what became of it
            answer(artifact, form.cleaned_data, by=BY_LINK)
        return HttpResponseRedirect(request.path)
    shown = {"artifact": artifact, "form": form, "state": _state_of(artifact)}
    return render(request, "artifacts/page.html", shown)


def _state_of(artifact: Artifact) -> str:
    if artifact.state == Artifact.State.OPEN and not is_open(artifact):
        return Artifact.State.EXPIRED
    return artifact.state
