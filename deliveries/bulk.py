"""Rows into tables, many at once, without building models: the receive path's own writer.

On PostgreSQL values travel in the binary format through `unnest`, one statement whatever the
number of rows; text binding there costs four times as much (facts/performance.md A4.3).
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Model

Row = Sequence[Any]


def insert(
    model: type[Model],
    columns: tuple[str, ...],
    rows: Sequence[Row],
    *,
    conflict: str = "",
) -> int:
    """Insert rows inside the caller's transaction; return how many were written.

    ``columns`` are column names; values are what the database takes: see `id_adapter` and
    `time_adapter`. JSON is given as text. ``conflict`` is an ON CONFLICT clause.
    """
    if not rows:
        return 0
    if connection.vendor == "postgresql":
        with _binary_cursor() as cursor:
            cursor.execute(
                _unnest_sql(model, columns) + conflict,
                [list(column) for column in zip(*rows, strict=True)],
            )
            return int(cursor.rowcount)
    start = written = 0
    for size in _SIZES:
        sql = _values_sql(model, columns, size) + conflict
        while len(rows) - start >= size:
            values = [value for row in rows[start : start + size] for value in row]
            written += _sqlite().execute(sql, values).rowcount
            start += size
    return written


def id_adapter() -> Callable[[UUID | None], Any]:
    """Return the function that turns a UUID into what this database stores."""
    return _hex if connection.vendor == "sqlite" else _itself


def time_adapter() -> Callable[[datetime], Any]:
    """Return the function that turns an aware datetime in UTC into what this database stores.

    Django's own looks at settings and zones for every value.
    """
    return _utc_text if connection.vendor == "sqlite" else _itself


def _itself(value: Any) -> Any:
    return value


def _hex(value: UUID | None) -> Any:
    return None if value is None else value.hex


def _utc_text(moment: datetime) -> str:
    return str(moment.replace(tzinfo=None))


def _binary_cursor() -> Any:
    import psycopg

    connection.ensure_connection()
    raw: Any = connection.connection
    # Django's own cursor binds on the client, in text; this one binds on the server, in binary.
    return psycopg.Cursor(raw)


def _insert_into(model: type[Model], columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) '


# On SQLite rows go in by these handfuls. The driver lets go of the interpreter for each statement,
# and has to wait to get it back from a busy event loop: few statements, and few different ones,
# so that they stay prepared.
_SIZES = (32, 16, 8, 4, 2, 1)


def _sqlite() -> Any:
    """Return the driver's own connection: Django's cursor rewrites every statement."""
    connection.ensure_connection()
    raw: Any = connection.connection
    return raw


@lru_cache(maxsize=256)
def _values_sql(model: type[Model], columns: tuple[str, ...], count: int) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"{_insert_into(model, columns)}VALUES {', '.join([marks] * count)} "


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
