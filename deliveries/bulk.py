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
Always = tuple[tuple[str, str], ...]


def insert(
    model: type[Model], columns: tuple[str, ...], rows: Sequence[Row], always: Always = ()
) -> None:
    """Insert rows inside the caller's transaction.

    ``columns`` are column names. UUIDs are given in hex, JSON as text, times as `time_adapter`
    makes them. ``always`` names columns that have one value in every row, as an SQL literal: what
    need not be bound costs nothing.
    """
    if rows:
        with connection.wrap_database_errors:
            _write(model, columns, rows, "", always)


def upsert(
    model: type[Model], columns: tuple[str, ...], rows: Sequence[Row], conflict: str
) -> list[Any]:
    """Insert rows with an ON CONFLICT clause; return cursors whose ``rowcount`` together is how
    many were inserted or updated, to be read when the pipeline they are in has ended."""
    with connection.wrap_database_errors:
        return _write(model, columns, rows, conflict)


def ask(sql: str, parameters: Sequence[Any]) -> Any:
    """Run a query with ``%s`` for its parameters; return the cursor, to be read when the pipeline
    it is in has ended."""
    connection.ensure_connection()
    raw: Any = connection.connection
    with connection.wrap_database_errors:
        if connection.vendor == "postgresql":
            return _binary_cursor(raw).execute(sql, parameters)
        return raw.execute(sql.replace("%s", "?"), parameters)


@contextmanager
def pipelined() -> Iterator[None]:
    """Send what is in this block without waiting for each: PostgreSQL answers it together."""
    if connection.vendor != "postgresql":
        yield
        return
    connection.ensure_connection()
    raw: Any = connection.connection
    with connection.wrap_database_errors, raw.pipeline():
        yield


def _write(
    model: type[Model],
    columns: tuple[str, ...],
    rows: Sequence[Row],
    conflict: str,
    always: Always = (),
) -> list[Any]:
    database = connections[DEFAULT_DB_ALIAS]  # once: `connection` looks it up for every attribute
    database.ensure_connection()
    raw: Any = database.connection
    if database.vendor == "postgresql":
        sql = _unnest_sql(model, columns, always) + conflict
        return [
            _binary_cursor(raw).execute(sql, [list(column) for column in zip(*rows, strict=True)])
        ]
    cursors, start = [], 0
    for size in _SIZES:
        sql = _values_sql(model, columns, always, size) + conflict
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


def _insert_into(model: type[Model], columns: tuple[str, ...], always: Always) -> str:
    names = ", ".join(f'"{name}"' for name in (*columns, *(name for name, _ in always)))
    return f'INSERT INTO "{model._meta.db_table}" ({names}) '


# On SQLite rows go in by these handfuls. The driver lets go of the interpreter for each statement,
# and has to wait to get it back from a busy event loop: few statements, and few different ones,
# so that they stay prepared.
_SIZES = (32, 16, 8, 4, 2, 1)


@lru_cache(maxsize=256)
def _values_sql(model: type[Model], columns: tuple[str, ...], always: Always, count: int) -> str:
    marks = f"({', '.join([*'?' * len(columns), *(literal for _, literal in always)])})"
    return f"{_insert_into(model, columns, always)}VALUES {', '.join([marks] * count)} "


# What is bound for a type, and how the server makes the type of it: the driver turns texts and
# numbers into bytes in C, ids and times one by one in Python.
_BOUND_AS = {
    "jsonb": ("text", "{}::jsonb"),
    "varchar": ("text", "{}"),
    "uuid": ("text", "{}::uuid"),
    "timestamp with time zone": ("double precision", "to_timestamp({})"),
}


@lru_cache(maxsize=64)
def _unnest_sql(model: type[Model], columns: tuple[str, ...], always: Always) -> str:
    """Return an INSERT … SELECT FROM unnest with one binary array parameter per column."""
    by_column = {field.column: field for field in model._meta.concrete_fields}
    arrays, picks = [], []
    for name in columns:
        kind = by_column[name].db_type(connection) or "text"
        sent, pick = _BOUND_AS.get(kind.split("(")[0], (kind, "{}"))
        arrays.append(f"%b::{sent}[]")
        picks.append(pick.format(f'u."{name}"'))
    picks += [literal for _, literal in always]
    names = ", ".join(f'"{name}"' for name in columns)
    source = f"unnest({', '.join(arrays)}) AS u({names}) "
    into = _insert_into(model, columns, always)
    return f"{into}SELECT {', '.join(picks)} FROM {source}"  # noqa: S608  names of our own
