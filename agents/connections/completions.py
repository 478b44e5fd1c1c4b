"""The completions mode: a chat endpoint is asked, and what its model says is the agent's answer."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
from django.db import connection
from django.utils.translation import gettext as _

from agents.models import Agent
from agents.services.completions import Endpoint, endpoint_of
from agents.services.completions_answers import is_silence, without_reasoning
from agents.services.completions_calls import CONTEXT_LENGTH, Call, Wording, call
from agents.services.completions_history import Turn, earlier, merged
from agents.services.completions_replies import Completion
from agents.services.messages import MESSAGE, PAYLOAD_LIMIT
from agents.skills import load_skills, with_skills
from deliveries.claims import Claimed
from deliveries.destinations import Destination
from deliveries.outcomes import Message, Outcome

from . import thinking
from .destination import AgentDestination

# Calls of one attempt: the first, and one for each thing that can be put right within it.
MOST_CALLS = 5
# Said to the model, not to a person: in the language that models know best.
NO_TOOLS = (
    "No tools can be called here, so nothing was done. "
    "Please answer in words, with what you know already."
)


class CompletionsDestination(AgentDestination):
    """A chat endpoint, asked as the agent that answers.

    It takes minutes, so it sends in threads of its own (`take_over`). The lease is short all the
    same, and is renewed while a thread is at work: a worker that dies loses it within a minute.
    """

    budget = thinking.BUDGET

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.endpoint = endpoint_of(agent)

    def take_over(self, claimed: Claimed) -> None:
        """Send a claimed delivery apart from the runner's threads; see `thinking.take_over`."""
        thinking.take_over(claimed)

    def send(self, message: Message) -> Outcome:
        """Ask the model once, and put right within the attempt what can be."""
        if message.event_type != MESSAGE:
            return Outcome.failed(
                "skipped",
                _("A chat endpoint is sent messages, and no event of type %(type)s.")
                % {"type": message.event_type},
            )
        if not (self.endpoint.base_url and self.endpoint.model):
            # A retry, as the message is sound and an operator can mend this.
            return Outcome.retry("no_endpoint", _("The agent has no chat endpoint; enter one."))
        skills, missing = load_skills(message.metadata.get("skills"))
        before = earlier(self.agent, message, self.endpoint.history)
        if not connection.in_atomic_block:
            connection.close()  # models take minutes, and there may be many of them
        asking = Asking(self.endpoint, with_skills(_prompt_of(message), skills), before)
        if missing:
            asking.note(_("Skills that were not found: %(names)s.") % {"names": ", ".join(missing)})
        return asking.outcome()


def load(agents: Sequence[Agent]) -> Mapping[int, Destination]:
    """Return agents in completions mode as destinations by lane id."""
    return {agent.lane_id: CompletionsDestination(agent) for agent in agents}


@dataclass(slots=True)
class Asking:
    """One attempt: a question, and the calls that it takes."""

    endpoint: Endpoint
    prompt: str
    before: list[Turn]
    _behind: list[Turn] = field(default_factory=list)
    _wording: Wording = field(default_factory=Wording)
    _calls: list[Call] = field(default_factory=list)
    _notes: list[str] = field(default_factory=list)

    def outcome(self) -> Outcome:
        """Call until there is an answer or an error that nothing here can put right.

        Each of these is tried once: without the earlier messages when the model's context is too
        short, in another wording when the endpoint refuses a parameter, and a word that there are
        no tools when the model asks for some. All of it within the time of one attempt.
        """
        deadline = time.monotonic() + self.endpoint.timeout_seconds
        while True:
            left = max(0.001, deadline - time.monotonic())
            made = call(self.endpoint, self._turns(), left, self._wording)
            self._calls.append(made)
            if len(self._calls) == MOST_CALLS or not self._put_right(made):
                return self._judged(made)

    def note(self, sentence: str) -> None:
        """Keep a sentence for whoever reads the attempt."""
        self._notes.append(sentence)

    def _turns(self) -> list[Turn]:
        system = [{"role": "system", "content": self.endpoint.system}]
        asked = merged([*self.before, {"role": "user", "content": self.prompt}])
        return [*(system if self.endpoint.system else []), *asked, *self._behind]

    def _put_right(self, made: Call) -> bool:
        if isinstance(made.result, Completion):
            return self._without_tools(made.result)
        if made.result.error_class == CONTEXT_LENGTH and self.before:
            self.before = []
            self.note(_("Sent without earlier messages: they were too long for the model."))
            return True
        wording = self._wording.instead(made.complaint)
        if wording is None:
            return False
        self._wording = wording
        return True

    def _without_tools(self, completion: Completion) -> bool:
        if not completion.tools or without_reasoning(completion.text) or self._behind:
            return False
        self._behind = [
            {"role": "assistant", "content": f"(asked for {', '.join(completion.tools)})"},
            {"role": "user", "content": NO_TOOLS},
        ]
        return True

    def _judged(self, made: Call) -> Outcome:
        facts = self._usage()
        if isinstance(made.result, Outcome):
            error = " ".join([made.result.error, *self._notes])
            return replace(made.result, error=error, provider_ids=facts)
        answer = self._answer(made.result)
        return Outcome.delivered(
            answer=answer, error=" ".join(self._notes), provider_ids=facts, **made.facts
        )

    def _answer(self, completion: Completion) -> dict[str, Any] | None:
        """Return what is posted; a note says why it is nothing, or not all of it."""
        text = without_reasoning(completion.text)
        if completion.finish_reason == "length":
            self.note(_("The model was cut off at its limit of tokens."))
        if completion.finish_reason == "content_filter":
            self.note(_("The endpoint's content filter stepped in."))
        if not text:
            self.note(
                _("The model wanted tools (%(names)s), which it has none of here.")
                % {"names": ", ".join(completion.tools)}
                if completion.tools
                else _("The model answered nothing.")
            )
            return None
        if is_silence(text):
            self.note(_("The model chose to say nothing."))
            return None
        answer = {"type": "text", "text": text}
        if len(orjson.dumps(answer)) > PAYLOAD_LIMIT:
            self.note(_("The answer is longer than an agent may say and was not used."))
            return None
        return answer

    def _usage(self) -> dict[str, Any]:
        """Return what it cost, all calls together, and who answered."""
        completions = [made.result for made in self._calls if isinstance(made.result, Completion)]
        usage: dict[str, Any] = {}
        for name in ("prompt_tokens", "completion_tokens"):
            counts = [getattr(completion, name) for completion in completions]
            if known := [count for count in counts if count is not None]:
                usage[name] = sum(known)
        if completions:
            last = completions[-1]
            usage |= {"model": last.model or self.endpoint.model}
            usage |= {"finish_reason": last.finish_reason} if last.finish_reason else {}
        if len(self._calls) > 1:
            usage["calls"] = len(self._calls)
        return usage


def _prompt_of(message: Message) -> str:
    """Return what is asked: the text, or the payload as it is where it has none."""
    return message.text.strip() or orjson.dumps(message.payload).decode()
