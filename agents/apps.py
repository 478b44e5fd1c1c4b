"""Who answers."""

from typing import Any

from django.apps import AppConfig, apps
from django.utils.translation import gettext_lazy as _


class AgentsConfig(AppConfig):
    name = "agents"
    verbose_name = _("Agents")
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Let the engine load agents by their lanes, and the clockwork forget conversations."""
        from django.core import checks
        from django.db.models.signals import post_delete

        from deliveries.clockwork import every_minute_also
        from deliveries.destinations import register

        from .connections import load
        from .models import LANE_KIND, StoredObject
        from .services import purge_conversations
        from .services.artifacts import expire_artifacts, purge_artifacts
        from .services.chats import take_chat
        from .services.governance import warn_expiring
        from .services.presence import mark_silent
        from .services.tokens import purge_tokens
        from .storage import check_storage, delete_file_of, purge_objects

        register(LANE_KIND, load)
        # Agents and platforms are strangers, so Django introduces them.
        platforms: Any = apps.get_app_config("platforms")
        platforms.answer_chats_with(take_chat)
        every_minute_also(purge_conversations)
        every_minute_also(mark_silent)
        every_minute_also(purge_objects)
        every_minute_also(purge_tokens)
        every_minute_also(expire_artifacts)
        every_minute_also(purge_artifacts)
        every_minute_also(warn_expiring)
        post_delete.connect(delete_file_of, sender=StoredObject)
        checks.register(check_storage)
