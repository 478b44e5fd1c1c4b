"""Rows that exist in tests of the vault only."""

from django.db import models

from vault.fields import EncryptedJSONField, EncryptedTextField
from vault.models import Secret


class Box(models.Model):
    label = models.TextField(default="")
    note = EncryptedTextField(null=True)
    config = EncryptedJSONField(null=True)

    class Meta:
        app_label = "safe"

    def __str__(self) -> str:
        return self.label


class BoxSecret(Secret):
    box = models.ForeignKey(Box, on_delete=models.CASCADE, related_name="secrets")

    class Meta(Secret.Meta):
        app_label = "safe"
