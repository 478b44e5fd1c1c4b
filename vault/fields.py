"""Model fields whose values are encrypted at rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from django import forms
from django.core.exceptions import FieldError
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Lookup, Model, Transform
from django.db.models.sql.compiler import SQLCompiler

from vault import keyring

_ST = TypeVar("_ST", contravariant=True)
_GT = TypeVar("_GT", covariant=True)

if TYPE_CHECKING:

    class _TextField(models.TextField[_ST, _GT]): ...

else:
    # Django's fields take type arguments in the stubs only.
    class _TextField(models.TextField, Generic[_ST, _GT]): ...


class EncryptedField(_TextField[_ST, _GT]):
    """What the encrypted fields share: a column of ciphertext, None stored as NULL.

    Reading a value that no key opens raises VaultKeyError. The same value is another ciphertext
    each time, so it can't be looked up, made unique or usefully indexed; only `isnull` works.
    `dumpdata` writes values in clear, as it must be readable under another key.
    """

    def get_prep_value(self, value: Any) -> str | None:
        return None if value is None else keyring.current().encrypt(self.to_text(value))

    def from_db_value(
        self, value: str | None, expression: object, connection: BaseDatabaseWrapper
    ) -> Any:
        return None if value is None else self.decrypt(value, keyring.current())

    def decrypt(self, ciphertext: str, keys: keyring.Keyring) -> Any:
        """Return the value of a ciphertext; raise VaultKeyError when these keys don't open it."""
        return self.from_text(keys.decrypt(ciphertext))

    def to_text(self, value: Any) -> str:
        """Return the value as the text to encrypt."""
        return str(value)

    def from_text(self, text: str) -> Any:
        """Return the value of a decrypted text."""
        return text

    def get_lookup(self, lookup_name: str) -> type[Lookup[Any]] | None:
        if lookup_name != "isnull":
            raise self._not_searchable(lookup_name)
        return super().get_lookup(lookup_name)

    def get_transform(self, lookup_name: str) -> type[Transform] | None:
        raise self._not_searchable(lookup_name)

    def get_db_prep_save(self, value: Any, connection: BaseDatabaseWrapper) -> Any:
        self._refuse_clear_expression(value)
        return super().get_db_prep_save(value, connection)

    def get_placeholder(
        self, value: Any, compiler: SQLCompiler, connection: BaseDatabaseWrapper
    ) -> str:
        # `update()` gives an expression to this hook only.
        self._refuse_clear_expression(value)
        return "%s"

    def _not_searchable(self, lookup_name: str) -> FieldError:
        return FieldError(
            f"{self._where()} is encrypted and can't be searched by '{lookup_name}'; only "
            "'isnull' works. Look the row up by another column and compare the value in Python."
        )

    def _refuse_clear_expression(self, value: Any) -> None:
        """Refuse what the database would write past the encryption, such as Value("text").

        The ciphertext of another encrypted column is welcome, and so is what bulk_update builds.
        """
        if not hasattr(value, "as_sql") or isinstance(value.output_field, EncryptedField):
            return
        raise FieldError(f"{self._where()} is encrypted; give it a plain value, not an expression.")

    def _where(self) -> str:
        return f"{self.model._meta.label}.{self.name}"


class EncryptedTextField(EncryptedField[_ST, _GT]):
    """A text, encrypted at rest."""

    _pyi_private_set_type: str
    _pyi_private_get_type: str


class EncryptedJSONField(EncryptedField[_ST, _GT]):
    """Anything that JSON can say, encrypted at rest; None is NULL."""

    _pyi_private_set_type: Any
    _pyi_private_get_type: Any

    def to_text(self, value: Any) -> str:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))

    def from_text(self, text: str) -> Any:
        return json.loads(text)

    def to_python(self, value: Any) -> Any:
        return value

    def value_to_string(self, obj: Model) -> Any:
        return self.value_from_object(obj)

    def formfield(self, **kwargs: Any) -> forms.Field | None:
        return super().formfield(**{"form_class": forms.JSONField, **kwargs})
