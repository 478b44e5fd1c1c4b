from django.apps import AppConfig


class SafeConfig(AppConfig):
    name = "tests.vault.safe"
    default_auto_field = "django.db.models.BigAutoField"
