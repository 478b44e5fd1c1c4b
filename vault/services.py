"""Changes of secrets, and of the keys they are stored with."""

from __future__ import annotations

import base64
import secrets as random
from datetime import timedelta
from typing import Any, TypeVar

from django.apps import apps
from django.db import models, router, transaction
from django.db.models import F, Q, TextField
from django.db.models.functions import Cast

from vault import keyring, keys
from vault.fields import EncryptedField
from vault.models import KeyCheck, Secret

SECRET_BYTES = 33  # at least 32 (spec 002), and no padding at the end of their base64

# Rows locked and written in one transaction: a few hundred milliseconds at most, so that whoever
# waits for the database meanwhile does not notice.
BATCH = 200

_Secret = TypeVar("_Secret", bound=Secret)


def generate_secret() -> str:
    """Return 33 random bytes as url-safe base64: 44 characters that any sender takes."""
    return base64.urlsafe_b64encode(random.token_bytes(SECRET_BYTES)).decode()


def rotate(secrets: models.Manager[_Secret], new_value: str | None, overlap: timedelta) -> _Secret:
    """Add a secret and let the older ones end after the overlap; return the new one.

    `secrets` is the related manager of one owner (`route.secrets`). None as the value generates
    one. An older secret that ends sooner keeps its end; an overlap of zero ends the others at
    once. Raises ValueError for an empty value or a negative overlap.
    """
    if new_value == "":
        raise ValueError("A secret can't be empty; pass None to have one generated.")
    if overlap < timedelta(0):
        raise ValueError("The overlap of a rotation can't be negative.")
    with transaction.atomic(using=router.db_for_write(secrets.model)):
        # Two rotations at once: the second waits here, and then ends the secret of the first.
        list(secrets.select_for_update().order_by("pk").values_list("pk"))
        new = secrets.create(value=generate_secret() if new_value is None else new_value)
        ends = new.created_at + overlap
        secrets.filter(Q(not_after=None) | Q(not_after__gt=ends)).exclude(pk=new.pk).update(
            not_after=ends
        )
    return new


def rotate_vault_key(*, retire_old: bool) -> int:
    """Encrypt everything with a new key; return how many values that were.

    1. The file gets the new key on top of the old ones; every process encrypts with it from its
       next value on, and reads both.
    2. What is stored is encrypted again, in batches. A crash up to here loses nothing: the old
       keys are in the file, and `reencrypt_all` does the rest.
    3. With `retire_old`, once a whole pass finds nothing that needs an old key, the file keeps the
       new one only.
    4. One more pass, the old keys still in memory, takes what a process wrote in that moment.

    Raises VaultKeyError, before it changes anything, when the keys come from VAULT_KEYS or are
    not this database's; and when a value can't be opened, which then leaves the old keys.
    """
    if keyring.come_from_settings():
        raise keys.VaultKeyError(
            "The keys come from the setting VAULT_KEYS, which Hermes can't write. Put a new key "
            "in front there, restart every process, then run this with --reencrypt-only."
        )
    folder = keyring.key_file().parent
    with keys.locked(folder):
        KeyCheck.objects.first()
        new = keys.generate_vault_key()
        keys.write_vault_keys(folder, [new, *keyring.current().keys])
        both = keyring.current()
        changed = reencrypt_all(both)
        if not retire_old:
            return changed
        while late := reencrypt_all(both):
            changed += late
        keys.write_vault_keys(folder, [new])
        return changed + reencrypt_all(both)


def reencrypt_all(ring: keyring.Keyring | None = None) -> int:
    """Encrypt with the newest key every stored value that is not; return how many there were.

    Values are opened with `ring`, by default the keys in use. Commits every 200 rows, so it can
    be broken off and run again. Raises VaultKeyError, naming the row, for what no key opens.
    """
    ring = ring or keyring.current()
    return sum(
        _reencrypt_column(model, field, ring)
        for model in apps.get_models(include_auto_created=True)
        if not model._meta.proxy
        for field in model._meta.local_concrete_fields
        if isinstance(field, EncryptedField)
    )


def _reencrypt_column(
    model: type[models.Model], field: EncryptedField[Any, Any], ring: keyring.Keyring
) -> int:
    rows = model._base_manager.using(router.db_for_write(model)).order_by("pk")
    stored = rows.filter(**{f"{field.name}__isnull": False})
    changed = 0
    batch = stored
    while True:
        with transaction.atomic(using=rows.db):
            # Locked from the look to the write, or a value saved meanwhile would be undone. Cast
            # to text, it comes as it is stored.
            found = list(
                batch.select_for_update().values_list("pk", Cast(F(field.name), TextField()))[
                    :BATCH
                ]
            )
            for pk, ciphertext in found:
                if not ring.is_current(ciphertext):
                    value = _open(model, field, ring, pk, ciphertext)
                    rows.filter(pk=pk).update(**{field.name: value})
                    changed += 1
        if len(found) < BATCH:
            return changed
        batch = stored.filter(pk__gt=found[-1][0])


def _open(
    model: type[models.Model],
    field: EncryptedField[Any, Any],
    ring: keyring.Keyring,
    pk: object,
    ciphertext: str,
) -> Any:
    try:
        return field.decrypt(ciphertext, ring)
    except keys.VaultKeyError as error:
        raise keys.VaultKeyError(f"{model._meta.label}.{field.name} of {pk}: {error}") from None
