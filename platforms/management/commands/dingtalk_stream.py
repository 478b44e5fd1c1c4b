"""``manage.py dingtalk_stream <channel>``: receive what people write to an app's robot."""

import signal
import threading
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from platforms.dingtalk.stream import Stream
from platforms.dingtalk.streams import NoStream, Taken, alone, app_of
from platforms.models import Channel


class Command(BaseCommand):
    """Listen until SIGTERM or Ctrl-C; `gateway` starts one of these for each app."""

    help = "Receive DingTalk messages for a channel, by Stream Mode; `gateway` does it by itself."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("channel", help="the channel's name")

    def handle(self, *args: Any, **options: Any) -> None:
        """Exit 0 after a stop; raise CommandError when the channel receives nothing."""
        channel = Channel.objects.defer("config").filter(name=options["channel"]).first()
        if channel is None:
            raise CommandError(f"There is no channel {options['channel']}.")
        stopping = threading.Event()

        def stop(_number: int, _frame: FrameType | None) -> None:
            stopping.set()

        signal.signal(signal.SIGTERM, stop)
        signal.signal(signal.SIGINT, stop)
        try:
            app = app_of(channel)
            with alone(app):
                Stream(app, stopping).run()
        except (NoStream, Taken) as error:
            raise CommandError(str(error)) from None
