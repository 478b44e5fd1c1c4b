"""Which streams are to run: one for each app that an enabled channel receives by."""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from platforms.models import Channel

from . import API_BASE, KIND


@dataclass(frozen=True, slots=True)
class App:
    """An app of DingTalk's, with the channel that its messages come in by."""

    channel_id: int
    channel: str
    client_id: str
    client_secret: str
    api_base: str

    @property
    def key(self) -> str:
        """Return what tells apps apart; nothing can be read from it."""
        return hashlib.sha256(f"{self.api_base}\0{self.client_id}".encode()).hexdigest()[:16]

    @property
    def version(self) -> str:
        """Return what changes when the stream has to be started anew."""
        said = f"{self.channel_id}\0{self.key}\0{self.client_secret}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]


class NoStream(LookupError):
    """A channel receives nothing; the text says why."""


class Taken(RuntimeError):
    """Another process on this data folder listens for the app."""


def app_of(channel: Channel) -> App:
    """Return the app that a channel receives by; raise NoStream if it does not."""
    config = channel.readable_config()
    if channel.kind != KIND:
        raise NoStream(f"The channel {channel.name} is not of DingTalk.")
    if not channel.enabled:
        raise NoStream(f"The channel {channel.name} is off.")
    if config is None:
        raise NoStream(f"The vault key does not open the configuration of {channel.name}.")
    if not (config.get("client_id") and config.get("client_secret")):
        raise NoStream(f"The channel {channel.name} has no client ID or no client secret.")
    if not config.get("stream"):
        raise NoStream(f"The channel {channel.name} is not to receive messages.")
    base = config.get("api_base") or settings.CHANNEL_API_BASES.get(KIND) or API_BASE
    return App(
        channel_id=channel.pk,
        channel=channel.name,
        client_id=str(config["client_id"]),
        client_secret=str(config["client_secret"]),
        api_base=str(base).rstrip("/"),
    )


def wanted() -> dict[str, App]:
    """Return the apps to listen for by their keys; the oldest channel of an app has its stream."""
    found: dict[str, App] = {}
    channels = Channel.objects.filter(kind=KIND, enabled=True).defer("config").order_by("pk")
    for channel in channels:
        try:
            app = app_of(channel)
        except NoStream:
            continue
        found.setdefault(app.key, app)
    return found


@contextmanager
def alone(app: App) -> Iterator[None]:
    """Listen for an app as the only process of this data folder; raise Taken if one does.

    DingTalk gives each message to one of an app's connections, whichever: two listeners would
    take each other's messages. The kernel lets go when the process ends, however it ends.
    """
    folder = Path(settings.HERMES_DATA_DIR) / "run"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = os.open(folder / f"dingtalk-{app.key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Taken(
                f"Another process listens for the app of the channel {app.channel}."
            ) from None
        yield
    finally:
        os.close(lock)
