"""Places to deliver to."""

from typing import TYPE_CHECKING

from django.apps import AppConfig
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from .chats import Handler


class PlatformsConfig(AppConfig):
    name = "platforms"
    verbose_name = _("Platforms")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Tell the engine who loads the destinations of channel lanes, and watch DingTalk's."""
        from deliveries import destinations
        from deliveries.clockwork import every_minute_also

        from .destinations import load
        from .dingtalk.watch import watch_sessions
        from .models import LANE_KIND

        destinations.register(LANE_KIND, load)
        every_minute_also(watch_sessions)

    def answer_chats_with(self, handler: "Handler") -> None:
        """Let what people write on channels be taken by ``handler`` (see `platforms.chats`)."""
        from . import chats

        chats.register(handler)
