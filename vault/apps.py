from django.apps import AppConfig
from django.core import checks
from django.db.models.signals import post_migrate, pre_migrate


class VaultConfig(AppConfig):
    name = "vault"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from vault import canary

        checks.register(canary.check_keys, checks.Tags.database)
        pre_migrate.connect(canary.before_migrate, sender=self)
        post_migrate.connect(canary.after_migrate, sender=self)
