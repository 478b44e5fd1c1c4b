"""Channels as the engine sees them: destinations, by lane."""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from django.utils.translation import gettext as _

from deliveries.destinations import Destination
from deliveries.ladder import CHANNEL_LADDER, Ladder
from deliveries.lanes import touch
from deliveries.models import Delivery, Lane
from deliveries.outcomes import Message, Outcome, Verdict
from vault.keys import VaultKeyError

from .models import Channel
from .registry import senders
from .sender import BUDGET, Sender

logger = logging.getLogger(__name__)


@dataclass
class ChannelDestination:
    """A channel that takes deliveries.

    ``sender`` is None for a platform that is no more, and where the vault's keys do not open the
    configuration (``readable``).
    """

    channel_id: int
    lane_id: int
    name: str
    kind: str
    enabled: bool
    sender: Sender | None
    readable: bool = True
    ladder: Ladder = CHANNEL_LADDER
    budget: float = BUDGET

    def send(self, message: Message) -> Outcome:
        """Send by the channel's sender."""
        name = {"name": self.name, "kind": self.kind}
        if not self.enabled:
            return Outcome.failed("channel_disabled", _("The channel %(name)s is off.") % name)
        if not self.readable:
            # A retry, as the message is sound and an operator can mend this.
            return Outcome.retry("vault_key", unreadable(self.name), faults_channel=True)
        if self.sender is None:
            return Outcome.failed(
                "unknown_platform",
                _("The channel %(name)s is of a platform that Hermes does not know: %(kind)s.")
                % name,
                faults_channel=True,
            )
        outcome = self.sender.send(message)
        moved = outcome.progress.get("moved")
        if outcome.verdict == Verdict.DELIVERED and moved:
            # `answered` is called for a success that says more than "arrived".
            return replace(outcome, answer={"moved": moved})
        return outcome

    def answered(self, delivery: Delivery, message: Message, outcome: Outcome) -> None:
        """Take over a home that has moved (a Telegram group that became a supergroup)."""
        moved = outcome.answer.get("moved") if outcome.answer else None
        if moved:
            self._move_home(moved["field"], moved["from"], moved["to"])

    def faulted(self, outcome: Outcome) -> None:
        """Let the channel need attention; the first reason stays until it is tested again."""
        changed = Channel.objects.filter(pk=self.channel_id, health=Channel.Health.OK).update(
            health=Channel.Health.NEEDS_ATTENTION, health_reason=outcome.error
        )
        if changed:
            logger.warning("channel %s needs attention: %s", self.name, outcome.error_class)

    def give_up(self) -> None:
        """Do nothing: a channel's ladder ends with the delivery failing, never the channel."""

    def expired(self, delivery: Delivery) -> None:
        """Say so in the log; behind a channel there is nobody to tell."""
        logger.warning("delivery %s to channel %s expired", delivery.pk, self.name)

    def _move_home(self, field: str, old: str, new: str) -> None:
        channel = Channel.objects.select_for_update().filter(pk=self.channel_id).first()
        if channel is None or str(channel.home.get(field)) != old:
            return
        home = {**channel.home, field: new}
        Channel.objects.filter(pk=self.channel_id).update(home=home)
        touch(self.lane_id)
        logger.info("channel %s: its home moved from %s to %s", self.name, old, new)


def load(lanes: Iterable[Lane]) -> Mapping[int, Destination]:
    """Return the channels of these lanes, by lane id, with one query.

    One whose configuration the vault's keys do not open says so, and keeps back no other.
    """
    channels = Channel.objects.filter(lane__in=[lane.pk for lane in lanes])
    try:
        return {channel.lane_id: _destination(channel) for channel in channels}
    except VaultKeyError:
        return {channel.lane_id: _destination(channel) for channel in channels.defer("config")}


def sender_of(channel: Channel) -> Sender | None:
    """Return the sender of a channel, configured; None if the platform is unknown.

    None, too, if the configuration can't be read (see `Channel.readable_config`).
    """
    kind = senders().get(channel.kind)
    config = channel.readable_config()
    return kind(config, _mapping(channel.home)) if kind and config is not None else None


def unreadable(name: str) -> str:
    """Return what is wrong with a channel whose configuration can't be read, and the way out."""
    return _(
        "The vault key does not open the configuration of the channel %(name)s. Restore the key "
        "that it was stored with and restart the gateway, or enter the configuration anew."
    ) % {"name": name}


def _destination(channel: Channel) -> ChannelDestination:
    sender = sender_of(channel)
    return ChannelDestination(
        channel_id=channel.pk,
        lane_id=channel.lane_id,
        name=channel.name,
        kind=channel.kind,
        enabled=channel.enabled,
        sender=sender,
        readable=channel.readable_config() is not None,
        budget=sender.budget if sender else BUDGET,
    )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
