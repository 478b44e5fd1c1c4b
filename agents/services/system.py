"""The system agent: a sentence in, an answer out, and a form before anything is changed."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.utils import timezone, translation
from django.utils.timesince import timesince
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from agents.grammar import Intent, Sentence, understand
from agents.models import Agent, Artifact, Relation
from deliveries.selectors import waiting
from deliveries.transactions import write_transaction

from .artifacts import DecisionRefused, supersede
from .consequences import GENERATED, GIVEN, named, place_of
from .pinging import ping
from .relations import CHANGES
from .switching import PROPOSAL_LIFE, check_secret, propose_switch

logger = logging.getLogger(__name__)

LIFE: timedelta = PROPOSAL_LIFE
# How many agents an answer lists.
SHOWN = 50

# Said where a sentence is not understood, and as help.
EXAMPLES = (
    "把 DemoBot 的连接模式改成 webhook URL: https://my-agent.example/hashee/webhook secret: …",
    "switch DemoBot to webhook https://my-agent.example/hashee/webhook",
    "switch DemoBot to WebSocket · 把 DemoBot 改成 WebSocket",
    "switch DemoBot to pull · 把 DemoBot 改成拉取",
    "switch DemoBot to completions https://llm.example/v1 model llama3",
    "status · 状态 · status of DemoBot",
    "recover DemoBot · 恢复 DemoBot",
    "rotate the secret of DemoBot · 轮换 DemoBot 的密钥",
    "suspend DemoBot · restore DemoBot · 暂停 DemoBot · 解除暂停 DemoBot",
    "suspend the relation of telegram:12345 with DemoBot · 暂停 DemoBot 与 telegram:12345 的关系",
    "restore the relation of telegram:12345 with DemoBot · 恢复 DemoBot 与 telegram:12345 的关系",
    "help · 帮助",
)

# Who may ask for it; the same who may confirm it.
PERMISSIONS = {
    Intent.STATUS: "agents.view_agent",
    Intent.SWITCH: "agents.switch_agent",
    Intent.ROTATE: "agents.switch_agent",
    Intent.RECOVER: "agents.recover_agent",
    Intent.SUSPEND_RELATION: "agents.change_relation",
    Intent.RESTORE_RELATION: "agents.change_relation",
    Intent.REVOKE_RELATION: "agents.change_relation",
    Intent.SUSPEND_AGENT: "agents.change_agent",
    Intent.RESTORE_AGENT: "agents.change_agent",
}
# The change of `relations.CHANGES` that an intent stands for.
RELATION_CHANGES = {
    Intent.SUSPEND_RELATION: "suspended",
    Intent.RESTORE_RELATION: "restored",
    Intent.REVOKE_RELATION: "revoked",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the system agent says: a sentence, lines below it, and a form to confirm, if any."""

    said: str
    lines: tuple[str, ...] = ()
    artifact: Artifact | None = None


class NotAnswered(Exception):
    """A sentence that is understood, but can't be followed; the text says why."""


def converse(text: str, *, by: str, may: Callable[[str], bool]) -> Reply:
    """Answer a sentence; ``by`` says it, ``may`` tells whether that person has a permission.

    Only status and help are answered at once; anything else with the form on which it is to be
    confirmed. The sentence itself is kept nowhere, as it may hold a secret. A Chinese one is
    answered in Chinese. A URL is pinged: call it outside a transaction.
    """
    agents = {agent.name: agent for agent in Agent.objects.order_by("name")}
    default = next((agent.name for agent in agents.values() if agent.is_default), "")
    sentence = understand(text, agents, default)
    chinese = any("\u4e00" <= letter <= "\u9fff" for letter in text)
    with translation.override("zh-hans" if chinese else translation.get_language()):
        try:
            return _reply(sentence, agents, by, may)
        except (NotAnswered, DecisionRefused) as why:
            return Reply(str(why))
        except ValidationError as error:
            return Reply(_("That can't be proposed:"), tuple(error.messages))


def _reply(
    sentence: Sentence, agents: dict[str, Agent], by: str, may: Callable[[str], bool]
) -> Reply:
    intent = sentence.intent
    if intent is None:
        return Reply(_("I did not understand that. I understand sentences such as:"), EXAMPLES)
    if intent == Intent.HELP:
        return Reply(_("I change how agents are connected. Say for example:"), EXAMPLES)
    if not may(PERMISSIONS[intent]):
        raise NotAnswered(_("You don't have the permission for that."))
    if intent == Intent.STATUS:
        return _status([agents[name] for name in sentence.agents] or list(agents.values()))
    agent = _the_one(sentence, agents)
    if intent == Intent.SWITCH:
        artifact = _propose_switch(agent, sentence, by)
    else:
        if intent == Intent.RECOVER and agent.suspended_at is not None:
            # 恢复 says both.
            intent = Intent.RESTORE_AGENT
            if not may(PERMISSIONS[intent]):
                raise NotAnswered(_("You don't have the permission for that."))
        artifact = _propose_act(agent, intent, sentence, by)
    logger.info("%s proposed by sentence: %s agent %s", by, intent, agent.pk)
    return Reply(_("Nothing is changed yet. Please confirm:"), artifact=artifact)


def _the_one(sentence: Sentence, agents: dict[str, Agent]) -> Agent:
    """Return the agent a sentence names; raise NotAnswered unless it is exactly one."""
    if len(sentence.agents) == 1:
        return agents[sentence.agents[0]]
    names = ", ".join(list(agents)[:SHOWN]) or "–"
    if sentence.agents:
        raise NotAnswered(_("Name one agent at a time, please."))
    raise NotAnswered(_("Which agent? Name one of these: %(names)s.") % {"names": names})


def _status(agents: list[Agent]) -> Reply:
    if not agents:
        return Reply(_("There is no agent yet."))
    said = ngettext("%(count)d agent:", "%(count)d agents:", len(agents)) % {"count": len(agents)}
    return Reply(said, tuple(_standing(agent) for agent in agents[:SHOWN]))


def _standing(agent: Agent) -> str:
    """Return in a line how an agent is connected, since when, and what waits for it."""
    place = agent.webhook_url
    if agent.connection_mode == Agent.Mode.COMPLETIONS:
        place = place_of(agent.endpoint)
    count = waiting(agent.lane_id).count()
    parts = [
        named(agent.connection_mode, place),
        _("%(status)s for %(time)s")
        % {
            "status": agent.get_connection_status_display(),
            "time": timesince(agent.status_changed_at),
        },
        ngettext("%(count)d delivery waits", "%(count)d deliveries wait", count) % {"count": count},
    ]
    if agent.suspended_at is not None:
        parts.append(_("suspended"))
    return f"{agent.name}: {' · '.join(parts)}"


def _propose_switch(agent: Agent, sentence: Sentence, by: str) -> Artifact:
    endpoint = {
        name: value
        for name, value in (("base_url", sentence.url), ("model", sentence.model))
        if value
    }
    url = sentence.url
    if sentence.mode == Agent.Mode.WEBHOOK and not url and agent.connection_mode == sentence.mode:
        url = agent.webhook_url
    artifact = propose_switch(
        agent, sentence.mode, url=url, secret=sentence.secret, endpoint=endpoint, by=by
    )
    if sentence.mode == Agent.Mode.WEBHOOK:
        ping(artifact)
    return artifact


def _propose_act(agent: Agent, intent: Intent, sentence: Sentence, by: str) -> Artifact:
    """Return the form of an act; raise NotAnswered where there is nothing to do."""
    proposal = {"act": intent.value, "by": by}
    match intent:
        case Intent.RECOVER:
            if agent.connection_status != Agent.Status.UNREACHABLE:
                raise NotAnswered(
                    _("%(name)s is %(status)s; there is nothing to recover.")
                    % {"name": agent, "status": agent.get_connection_status_display()}
                )
        case Intent.SUSPEND_AGENT | Intent.RESTORE_AGENT:
            if (agent.suspended_at is None) == (intent == Intent.RESTORE_AGENT):
                raise NotAnswered(
                    _("%(name)s is not suspended.") % {"name": agent}
                    if agent.suspended_at is None
                    else _("%(name)s is suspended already.") % {"name": agent}
                )
        case Intent.ROTATE:
            if agent.connection_mode != Agent.Mode.WEBHOOK:
                raise NotAnswered(_("Only an agent in webhook mode has a secret."))
            if sentence.secret:
                check_secret(sentence.secret)
            proposal["secret"] = GIVEN if sentence.secret else GENERATED
        case _:
            relation = _relation(agent, sentence.person)
            if relation.status not in CHANGES[RELATION_CHANGES[intent]][0]:
                raise NotAnswered(
                    _("The relation with %(person)s is %(status)s; that can't follow.")
                    % {"person": relation, "status": relation.get_status_display()}
                )
            proposal["relation"] = str(relation.pk)
    now = timezone.now()
    with write_transaction():
        supersede(agent, Artifact.Kind.ACT, now)
        return Artifact.objects.create(
            agent=agent,
            kind=Artifact.Kind.ACT,
            proposal=proposal,
            secret=sentence.secret if intent == Intent.ROTATE else "",
            created_at=now,
            expires_at=now + LIFE,
        )


def _relation(agent: Agent, person: str) -> Relation:
    if not person:
        raise NotAnswered(_("Whose relation? Say it as in: telegram:12345."))
    rows = Relation.objects.filter(agent=agent)
    found = rows.filter(user_id=person).first() or rows.filter(name__iexact=person).first()
    if found is None:
        raise NotAnswered(
            _("%(agent)s has no relation with %(person)s.") % {"agent": agent, "person": person}
        )
    return found
