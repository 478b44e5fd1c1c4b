"""Deciding on a form, whatever is proposed on it: what it would do, who may, and doing it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from agents.grammar import Intent
from agents.models import Agent, Artifact, Relation
from deliveries.selectors import waiting
from deliveries.transactions import engine_transaction

from . import governance, relations
from .artifacts import DecisionRefused, cancel, close
from .connection import recover
from .consequences import GENERATED, Consequences, describe_switch, named
from .manifests import decide_manifest
from .switching import confirm_switch, rotate_secret
from .system import PERMISSIONS

MANIFEST = "agents.change_agent"
ANSWER = "agents.change_artifact"


@dataclass(frozen=True, slots=True)
class Done:
    """What a confirmation did, in a sentence, and a generated secret to be shown this once."""

    said: str
    secret: str | None = None


def permission_for(artifact: Artifact) -> str:
    """Return which permission deciding on a form needs."""
    match artifact.kind:
        case Artifact.Kind.SWITCH:
            return PERMISSIONS[Intent.SWITCH]
        case Artifact.Kind.ACT:
            return PERMISSIONS[Intent(artifact.proposal["act"])]
        case Artifact.Kind.MANIFEST:
            return MANIFEST
        case _:
            return ANSWER


def title_of(artifact: Artifact) -> str:
    """Return in a few words what a form is about."""
    match artifact.kind:
        case Artifact.Kind.FORM:
            return str(artifact.form.get("title", ""))
        case Artifact.Kind.ACT:
            return str(_titles[Intent(artifact.proposal["act"])])
        case _:
            return str(artifact.get_kind_display()).capitalize()


def describe(artifact: Artifact) -> Consequences:
    """Return now, then and the effects of a switch or an act, as things stand."""
    if artifact.kind == Artifact.Kind.SWITCH:
        return describe_switch(artifact)
    return _described[Intent(artifact.proposal["act"])](artifact)


def confirm(artifact: Artifact, by: str, *, anyway: bool = False) -> Done:
    """Do what a form of any kind but an agent's question proposes, once.

    ``anyway``: also if a webhook did not answer its ping. Raises DecisionRefused, with nothing
    changed, when it was decided, has expired, or things have changed meanwhile.
    """
    told = {"name": artifact.agent}
    match artifact.kind:
        case Artifact.Kind.SWITCH:
            secret = confirm_switch(artifact, by, anyway=anyway)
            mode = Agent.Mode(artifact.proposal["mode"]).label
            return Done(_("%(name)s is switched to %(mode)s.") % (told | {"mode": mode}), secret)
        case Artifact.Kind.MANIFEST:
            decide_manifest(artifact, accepted=True, by=by)
            return Done(_("The manifest of %(name)s is accepted.") % told)
        case _:
            return _confirm_act(artifact, by)


def reject(artifact: Artifact, by: str) -> Done:
    """Close a form without effect; the agent is told of a manifest that is not accepted."""
    if artifact.kind == Artifact.Kind.MANIFEST:
        decide_manifest(artifact, accepted=False, by=by)
        return Done(_("The manifest is rejected; the one there was stays."))
    cancel(artifact, by=by)
    return Done(_("Cancelled. Nothing was changed."))


def _confirm_act(artifact: Artifact, by: str) -> Done:
    with engine_transaction():
        secret = Artifact.objects.values_list("secret", flat=True).get(pk=artifact.pk)
        close(artifact, Artifact.State.CONFIRMED, timezone.now(), decided_by=by)
        artifact.secret = secret
        try:
            return _carried_out[Intent(artifact.proposal["act"])](artifact, by)
        except relations.RelationRefused as error:
            raise DecisionRefused(str(error)) from None


def _recover(artifact: Artifact, by: str) -> Done:
    if artifact.agent.connection_status != Agent.Status.UNREACHABLE:
        raise DecisionRefused(_("%(name)s is not unreachable any more.") % {"name": artifact.agent})
    count = recover(artifact.agent)
    said = ngettext(
        "%(name)s is ready again. %(count)d delivery is on its way.",
        "%(name)s is ready again. %(count)d deliveries are on their way, oldest first.",
        count,
    )
    return Done(said % {"name": artifact.agent, "count": count})


def _rotate(artifact: Artifact, by: str) -> Done:
    secret = rotate_secret(artifact.agent, artifact.secret, by=by)
    return Done(_("%(name)s has a new secret.") % {"name": artifact.agent}, secret)


def _suspend(artifact: Artifact, by: str) -> Done:
    governance.suspend(artifact.agent, by=by)
    return Done(_("%(name)s is suspended.") % {"name": artifact.agent})


def _restore(artifact: Artifact, by: str) -> Done:
    governance.restore(artifact.agent, by=by)
    return Done(_("%(name)s is back in service.") % {"name": artifact.agent})


def _change_relation(
    change: Callable[..., None],
) -> Callable[[Artifact, str], Done]:
    def carry_out(artifact: Artifact, by: str) -> Done:
        relation = _relation_of(artifact)
        if relation is None:
            raise DecisionRefused(_("This relation does not exist any more."))
        change(relation, by=by)
        return Done(
            _("The relation of %(person)s with %(name)s is %(status)s now.")
            % {
                "person": relation,
                "name": artifact.agent,
                "status": relation.get_status_display(),
            }
        )

    return carry_out


def _relation_of(artifact: Artifact) -> Relation | None:
    rows = Relation.objects.filter(agent=artifact.agent_id, pk=artifact.proposal["relation"])
    return rows.first()


_carried_out: Mapping[Intent, Callable[[Artifact, str], Done]] = {
    Intent.RECOVER: _recover,
    Intent.ROTATE: _rotate,
    Intent.SUSPEND_AGENT: _suspend,
    Intent.RESTORE_AGENT: _restore,
    Intent.SUSPEND_RELATION: _change_relation(relations.suspend_relation),
    Intent.RESTORE_RELATION: _change_relation(relations.restore_relation),
    Intent.REVOKE_RELATION: _change_relation(relations.revoke),
}

_titles = {
    Intent.RECOVER: gettext_lazy("Recover"),
    Intent.ROTATE: gettext_lazy("Rotate the secret"),
    Intent.SUSPEND_AGENT: gettext_lazy("Suspend the agent"),
    Intent.RESTORE_AGENT: gettext_lazy("Restore the agent"),
    Intent.SUSPEND_RELATION: gettext_lazy("Suspend a relation"),
    Intent.RESTORE_RELATION: gettext_lazy("Restore a relation"),
    Intent.REVOKE_RELATION: gettext_lazy("Revoke a relation"),
}


# What an act would do ----------------------------------------------------------------------


def _describe_recover(artifact: Artifact) -> Consequences:
    agent = artifact.agent
    return Consequences(
        now=str(agent.get_connection_status_display()),
        then=str(Agent.Status.READY.label),
        effects=(
            _waiting(agent),
            _("Their retries start anew. If it still does not answer, it turns unreachable again."),
        ),
    )


def _describe_rotate(artifact: Artifact) -> Consequences:
    agent = artifact.agent
    generated = artifact.proposal["secret"] == GENERATED
    return Consequences(
        now=named(agent.connection_mode, agent.webhook_url),
        then=str(_("the same, with a new secret")),
        effects=(
            _("A new secret is generated and shown once, after the confirmation.")
            if generated
            else _("The secret you gave signs every delivery from then on."),
            _("An older secret signs nothing any more; give the new one to the agent."),
        ),
    )


def _describe_suspend(artifact: Artifact) -> Consequences:
    return Consequences(
        now=_("in service"),
        then=_("suspended"),
        effects=(
            _("The agent is sent nothing; what comes for it waits, up to 24 hours."),
            _("Its connection, if it has one open, is closed."),
        ),
    )


def _describe_restore(artifact: Artifact) -> Consequences:
    return Consequences(
        now=_("suspended"), then=_("in service"), effects=(_waiting(artifact.agent),)
    )


def _waiting(agent: Agent) -> str:
    count = waiting(agent.lane_id).count()
    return ngettext(
        "%(count)d delivery that waits is sent.",
        "%(count)d deliveries that wait are sent, oldest first.",
        count,
    ) % {"count": count}


def _describe_relation(
    then: Relation.Status, *effects: object
) -> Callable[[Artifact], Consequences]:
    def described(artifact: Artifact) -> Consequences:
        relation = _relation_of(artifact)
        person = relation.user_id if relation else "–"
        now = relation.get_status_display() if relation else "–"
        return Consequences(
            now=f"{person}: {now}",
            then=f"{person}: {then.label}",
            effects=tuple(str(effect) for effect in effects),
        )

    return described


_kept_away = gettext_lazy("What this person says no longer reaches the agent.")
_described: Mapping[Intent, Callable[[Artifact], Consequences]] = {
    Intent.RECOVER: _describe_recover,
    Intent.ROTATE: _describe_rotate,
    Intent.SUSPEND_AGENT: _describe_suspend,
    Intent.RESTORE_AGENT: _describe_restore,
    Intent.SUSPEND_RELATION: _describe_relation(
        Relation.Status.SUSPENDED, _kept_away, gettext_lazy("The relation can be restored.")
    ),
    Intent.RESTORE_RELATION: _describe_relation(
        Relation.Status.ESTABLISHED,
        gettext_lazy("What this person says from now on reaches the agent again."),
        gettext_lazy("What was kept from it meanwhile is not sent by itself."),
    ),
    Intent.REVOKE_RELATION: _describe_relation(
        Relation.Status.REVOKED,
        _kept_away,
        gettext_lazy("It can be established anew; it can't be restored."),
    ),
}
