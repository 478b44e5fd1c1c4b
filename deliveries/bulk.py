"""Rows into tables, many at once, without building models: the receive path's own writer.

On PostgreSQL values travel in the binary format through `unnest`, one statement whatever the
number of rows; text binding there costs four times as much (facts/performance.md A4.3).
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from django.db import connection
from django.db.models import Model

Row = Sequence[Any]


def insert(
    model: type[Model],
    columns: tuple[str, ...],
    rows: Sequence[Row],
    *,
    conflict: str = "",
) -> None:
    """Insert rows inside the caller's transaction.

    ``columns`` are column names; values are what the database takes: see `adapt_time`,
    `adapt_id`. JSON is given as text. ``conflict`` is an ON CONFLICT clause.
    """
    if not rows:
        return
    if connection.vendor == "postgresql":
        with _binary_cursor() as cursor:
            cursor.execute(
                _unnest_sql(model, columns) + conflict,
                [list(column) for column in zip(*rows, strict=True)],
            )
    else:
        with connection.cursor() as cursor:
            # Straight to the driver: Django's wrapper rewrites placeholders on every call.
            cursor.cursor.connection.executemany(_values_sql(model, columns) + conflict, rows)


def insert_returning(
    model: type[Model], columns: tuple[str, ...], rows: Sequence[Row], *, suffix: str
) -> list[tuple[Any, ...]]:
    """Insert rows and return what ``suffix`` (ON CONFLICT … RETURNING …) asks for."""
    if not rows:
        return []
    if connection.vendor == "postgresql":
        with _binary_cursor() as cursor:
            cursor.execute(
                _unnest_sql(model, columns) + suffix,
                [list(column) for column in zip(*rows, strict=True)],
            )
            return list(cursor.fetchall())
    one = f"({', '.join('?' * len(columns))})"
    sql = _insert_into(model, columns) + "VALUES " + ", ".join([one] * len(rows)) + suffix
    with connection.cursor() as cursor:
        found = cursor.cursor.connection.execute(sql, [value for row in rows for value in row])
        return list(found.fetchall())


def adapt_time(moment: Any) -> Any:
    """Return an aware datetime as this database stores it."""
    return connection.ops.adapt_datetimefield_value(moment)


def adapt_id(value: Any) -> Any:
    """Return a UUID (or None) as this database stores it."""
    return value if connection.vendor == "postgresql" or value is None else value.hex


def _binary_cursor() -> Any:
    import psycopg

    connection.ensure_connection()
    raw: Any = connection.connection
    # Django's own cursor binds on the client, in text; this one binds on the server, in binary.
    return psycopg.Cursor(raw)


def _insert_into(model: type[Model], columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) '


@lru_cache(maxsize=64)
def _values_sql(model: type[Model], columns: tuple[str, ...]) -> str:
    marks = ", ".join("?" * len(columns))
    return f"{_insert_into(model, columns)}VALUES ({marks}) "


@lru_cache(maxsize=64)
def _unnest_sql(model: type[Model], columns: tuple[str, ...]) -> str:
    """Return an INSERT … SELECT FROM unnest with one binary array parameter per column."""
    by_column = {field.column: field for field in model._meta.concrete_fields}
    arrays, picks = [], []
    for name in columns:
        kind = by_column[name].db_type(connection) or "text"
        kind = kind.split("(")[0]
        sent = "text" if kind in {"jsonb", "varchar"} else kind
        arrays.append(f"%b::{sent}[]")
        picks.append(f'u."{name}"::{kind}' if sent != kind else f'u."{name}"')
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f"{_insert_into(model, columns)}"
        f"SELECT {', '.join(picks)} FROM unnest({', '.join(arrays)}) AS u({names}) "
    )
