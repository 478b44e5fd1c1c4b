"""The witness of the vault key, and what every stored secret shares."""

from __future__ import annotations

from datetime import datetime
from typing import Self, TypeVar

from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from vault.fields import EncryptedTextField

# A hint of a shorter secret would be a good part of it.
HINT_FROM_CHARACTERS = 16


class KeyCheck(models.Model):
    """One row with a known value; where it can't be read, the keys are not this database's."""

    ONLY = 1

    id = models.PositiveSmallIntegerField(primary_key=True, default=ONLY)
    value = EncryptedTextField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="vault_keycheck_only_one")]

    def __str__(self) -> str:
        return "key check"


_Secret = TypeVar("_Secret", bound="Secret")


class SecretQuerySet(models.QuerySet[_Secret]):
    def live(self, now: datetime | None = None) -> Self:
        """Return the secrets that count at this moment (default: now), newest first."""
        now = now or timezone.now()
        return self.filter(Q(not_after=None) | Q(not_after__gt=now)).order_by("-created_at", "-pk")


class SecretManager(models.Manager[_Secret]):
    # Written out: mypy forgets the class that `as_manager` makes once it reads its cache.
    def get_queryset(self) -> SecretQuerySet[_Secret]:
        return SecretQuerySet(self.model, using=self._db)

    def live(self, now: datetime | None = None) -> SecretQuerySet[_Secret]:
        """Return the secrets that count at this moment (default: now), newest first."""
        return self.get_queryset().live(now)


class Secret(models.Model):
    """A shared secret that can overlap with its successor; see `vault.services.rotate`."""

    value = EncryptedTextField(_("value"))
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)
    not_after = models.DateTimeField(_("not after"), null=True, blank=True, editable=False)

    objects = SecretManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self._meta.verbose_name} {self.pk}"

    @property
    def hint(self) -> str:
        """The last four characters, by which a person knows it again; none of a short one."""
        return f"…{self.value[-4:]}" if len(self.value) >= HINT_FROM_CHARACTERS else "…"
