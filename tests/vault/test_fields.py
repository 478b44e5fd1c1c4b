from typing import Any

import pytest
from django import forms
from django.core.exceptions import FieldError
from django.db import connection
from django.db.models import F, Value

from tests.vault.safe.models import Box, BoxSecret


def stored(column: str) -> Any:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {column} FROM safe_box")
        return cursor.fetchone()[0]


def test_a_text_comes_back_as_it_was(box: Box) -> None:
    box.note = "grüße, 世界 \x00 'quoted'"
    box.save()
    assert Box.objects.get().note == "grüße, 世界 \x00 'quoted'"


@pytest.mark.parametrize(
    "value", [{"token": "t", "chats": [1, 2.5, None, True]}, [], {}, "text", 0, False]
)
def test_json_comes_back_as_it_was(box: Box, value: Any) -> None:
    box.config = value
    box.save()
    assert Box.objects.get().config == value


def test_none_is_stored_as_null(box: Box) -> None:
    assert (stored("note"), stored("config")) == (None, None)


def test_an_empty_text_is_not_null(box: Box) -> None:
    Box.objects.update(note="")
    assert stored("note") != ""
    assert Box.objects.get().note == ""


def test_the_row_does_not_contain_the_text(box: Box) -> None:
    Box.objects.update(note="correct horse", config={"token": "battery staple"})
    row = stored("note") + stored("config")
    assert "horse" not in row
    assert "token" not in row
    assert "staple" not in row


def test_the_same_text_is_stored_differently_each_time(box: Box) -> None:
    Box.objects.update(note="hush")
    first = stored("note")
    Box.objects.update(note="hush")
    assert stored("note") != first


def test_bulk_create_and_bulk_update_encrypt(safe: None) -> None:
    [box] = Box.objects.bulk_create([Box(note="first")])
    assert "first" not in stored("note")
    box.note = "second"
    Box.objects.bulk_update([box], ["note"])
    assert "second" not in stored("note")
    assert Box.objects.get().note == "second"


@pytest.mark.parametrize("clear", [Value("clear"), F("label")])
def test_an_expression_that_would_be_stored_in_clear_is_refused(box: Box, clear: Any) -> None:
    with pytest.raises(FieldError, match=r"safe\.Box\.note is encrypted"):
        Box.objects.update(note=clear)
    with pytest.raises(FieldError, match=r"safe\.Box\.note is encrypted"):
        Box.objects.create(note=Value("clear"))


@pytest.mark.parametrize(
    "lookup",
    [
        "note",
        "note__exact",
        "note__in",
        "note__contains",
        "note__gt",
        "config__token",
        "config__a__b",
    ],
)
def test_searching_is_refused_by_name(box: Box, lookup: str) -> None:
    with pytest.raises(FieldError, match="is encrypted and can't be searched"):
        Box.objects.filter(**{lookup: "x"})


def test_isnull_finds_what_is_there(box: Box) -> None:
    kept = Box.objects.create(note="hush")
    assert Box.objects.get(note__isnull=False) == kept


def test_values_and_deferred_columns_are_decrypted(box: Box) -> None:
    Box.objects.update(note="hush")
    assert Box.objects.values_list("note", flat=True).get() == "hush"
    assert Box.objects.defer("note").get().note == "hush"


def test_a_json_field_asks_for_json_in_a_form(safe: None) -> None:
    assert isinstance(Box._meta.get_field("config").formfield(), forms.JSONField)


def test_neither_repr_nor_str_of_a_secret_shows_it(box: Box) -> None:
    secret = BoxSecret(box=box, value="correct horse battery")
    assert "horse" not in repr(secret) + str(secret)


def test_the_hint_is_the_last_four_characters(safe: None) -> None:
    assert BoxSecret(value="correct horse battery").hint == "…tery"


def test_the_hint_of_a_short_secret_shows_none_of_it(safe: None) -> None:
    assert BoxSecret(value="horse").hint == "…"
