"""Trying an agent's chat endpoint out: one tiny request, and what came back in words."""

import time
from dataclasses import dataclass, replace

from django.utils.translation import gettext as _

from agents.models import Agent
from deliveries.outcomes import Outcome

from .completions import endpoint_of
from .completions_answers import without_reasoning
from .completions_calls import Wording, call

# A person waits for it. A model that is loaded first takes longer; then it can be tried again.
TRIAL_SECONDS = 30.0
# Tokens of the answer. Models that reason use them up and answer nothing, which is an answer.
TRIAL_TOKENS = 32
TRIAL_PROMPT = "This is a test of the connection. Reply with the word: ready"
SHOWN = 80  # characters of the answer


@dataclass(frozen=True, slots=True)
class Trial:
    """What a trial found; ``detail`` is a sentence for a person, free of secrets."""

    ok: bool
    detail: str


def try_model(agent: Agent) -> Trial:
    """Ask the agent's model one short question; nothing is recorded or posted anywhere.

    It costs what a few dozen tokens cost. Takes up to TRIAL_SECONDS; call it outside a
    transaction.
    """
    endpoint = endpoint_of(agent)
    if not (endpoint.base_url and endpoint.model):
        return Trial(False, _("There is no chat endpoint yet; enter its address and a model."))
    small = replace(endpoint, max_tokens=TRIAL_TOKENS)
    turns = [{"role": "user", "content": TRIAL_PROMPT}]
    started = time.monotonic()
    wording = Wording()
    made = call(small, turns, TRIAL_SECONDS, wording)
    if isinstance(made.result, Outcome) and (other := wording.instead(made.complaint)):
        left = max(1.0, TRIAL_SECONDS - (time.monotonic() - started))
        made = call(small, turns, left, other)
    if isinstance(made.result, Outcome):
        return Trial(False, made.result.error)
    said = {
        "model": made.result.model or endpoint.model,
        "seconds": f"{time.monotonic() - started:.1f}",
        "text": without_reasoning(made.result.text)[:SHOWN] or "–",
    }
    detail = _("Model %(model)s answered in %(seconds)s s: “%(text)s”") % said
    tokens = (made.result.prompt_tokens, made.result.completion_tokens)
    if None not in tokens:
        cost = {"prompt": tokens[0], "answer": tokens[1]}
        detail += " " + _("(%(prompt)d tokens in, %(answer)d out)") % cost
    return Trial(True, detail)
