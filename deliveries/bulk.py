"""Rows into tables, many at once, without building models: the receive path's own writer.

On PostgreSQL values travel in the binary format through `unnest`, one statement whatever the
number of rows; text binding there costs four times as much (facts/performance.md A4.3).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.db.models import Model

Row = Sequence[Any]


def insert(model: type[Model], columns: tuple[str, ...], rows: Sequence[Row]) -> None:
    """Insert rows inside the caller's transaction.

    ``columns`` are column names. UUIDs are given in hex, JSON as text, times as `time_adapter`
    makes them.
    """
    if rows:
        _write(model, columns, rows, "")


def upsert(
    model: type[Model], columns: tuple[str, ...], rows: Sequence[Row], conflict: str
) -> int:
    """Insert rows with an ON CONFLICT clause; return how many were inserted or updated."""
    return sum(cursor.rowcount for cursor in _write(model, columns, rows, conflict))


@contextmanager
def pipelined() -> Iterator[None]:
    """Send the inserts of this block without waiting for each: PostgreSQL answers them together."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    with raw.pipeline():
        yield


def _write(
    model: type[Model], columns: tuple[str, ...], rows: Sequence[Row], conflict: str
) -> list[Any]:
    database = connections[DEFAULT_DB_ALIAS]  # once: `connection` looks it up for every attribute
    database.ensure_connection()
    raw: Any = database.connection
    if database.vendor == "postgresql":
        sql = _unnest_sql(model, columns) + conflict
        return [_binary_cursor(raw).execute(sql, [list(column) for column in zip(*rows, strict=True)])]
    cursors, start = [], 0
    for size in _SIZES:
        sql = _values_sql(model, columns, size) + conflict
        while len(rows) - start >= size:
            values = [value for row in rows[start : start + size] for value in row]
            # Straight to the driver: Django's cursor rewrites every statement.
            cursors.append(raw.execute(sql, values))
            start += size
    return cursors


def time_adapter() -> Callable[[datetime], Any]:
    """Return the function that turns an aware datetime in UTC into what is bound for it.

    Django's own looks at settings and zones for every value; psycopg's takes as long.
    """
    return _utc_text if connection.vendor == "sqlite" else datetime.timestamp


def _utc_text(moment: datetime) -> str:
    return str(moment.replace(tzinfo=None))


def _binary_cursor(raw: Any) -> Any:
    """Return a cursor that binds on the server, in binary; Django's own binds here, in text."""
    import psycopg

    return psycopg.Cursor(raw)


def _insert_into(model: type[Model], columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{name}"' for name in columns)
    return f'INSERT INTO "{model._meta.db_table}" ({names}) '


# On SQLite rows go in by these handfuls. The driver lets go of the interpreter for each statement,
# and has to wait to get it back from a busy event loop: few statements, and few different ones,
# so that they stay prepared.
_SIZES = (32, 16, 8, 4, 2, 1)


@lru_cache(maxsize=256)
def _values_sql(model: type[Model], columns: tuple[str, ...], count: int) -> str:
    marks = f"({', '.join('?' * len(columns))})"
    return f"{_insert_into(model, columns)}VALUES {', '.join([marks] * count)} "


# What is bound for a type, and how the server makes the type of it: the driver turns texts and
# numbers into bytes in C, ids and times one by one in Python.
_BOUND_AS = {
    "jsonb": ("text", "{}::jsonb"),
    "varchar": ("text", "{}"),
    "uuid": ("text", "{}::uuid"),
    "timestamp with time zone": ("double precision", "to_timestamp({})"),
}


@lru_cache(maxsize=64)
def _unnest_sql(model: type[Model], columns: tuple[str, ...]) -> str:
    """Return an INSERT … SELECT FROM unnest with one binary array parameter per column."""
    by_column = {field.column: field for field in model._meta.concrete_fields}
    arrays, picks = [], []
    for name in columns:
        kind = by_column[name].db_type(connection) or "text"
        sent, pick = _BOUND_AS.get(kind.split("(")[0], (kind, '{}'))
        arrays.append(f"%b::{sent}[]")
        picks.append(pick.format(f'u."{name}"'))
    names = ", ".join(f'"{name}"' for name in columns)
    return (
        f"{_insert_into(model, columns)}"
        f"SELECT {', '.join(picks)} FROM unnest({', '.join(arrays)}) AS u({names}) "
    )
