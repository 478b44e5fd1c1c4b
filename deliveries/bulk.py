"""Rows into tables, many at once, without building models: the receive path's own writer.

On PostgreSQL a column travels as one parameter and is taken apart by `unnest`: one statement
whatever the number of rows; binding value by value costs four times as much
(facts/performance.md A4.3).
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
    if not rows:
        return []
    with connection.wrap_database_errors:
        return _write(model, columns, rows, conflict)


def ask(sql: str, parameters: Sequence[Any]) -> Any:
    """Run a query with ``%s`` for its parameters; return the cursor, to be read when the pipeline
    it is in has ended."""
    connection.ensure_connection()
    raw: Any = connection.connection
    with connection.wrap_database_errors:
        if connection.vendor == "postgresql":
            return _binary_cursor(raw).execute(sql, parameters, prepare=True)
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
        bound = _bound(model, columns, rows)
        return [_binary_cursor(raw).execute(sql, bound, prepare=True)]
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


# What the server makes of the texts of a column, by the column's type.
_MADE_OF_TEXT = {
    "uuid": "{}::uuid",
    "jsonb": "{}::jsonb",
    "integer": "{}::integer",
    "bigint": "{}::bigint",
    "smallint": "{}::smallint",
    "timestamp with time zone": "to_timestamp({}::double precision)",
    "digest": "decode({}, 'hex')",
}
# Between two values of a column, and in place of NULL. JSON, ids and what a request may say of
# itself have no control characters.
_BETWEEN, _NULL = "\x1f", "\x1e"
# The first piece is nobody's: of an empty text the server would make no piece at all.
_TAKEN_APART = f"(string_to_array(%b::text, '{_BETWEEN}', '{_NULL}'))[2:]"


@lru_cache(maxsize=64)
def _unnest_sql(model: type[Model], columns: tuple[str, ...], always: Always) -> str:
    """Return an INSERT … SELECT FROM unnest with one parameter per column, see `_bound`."""
    kinds = _kinds(model, columns)
    arrays = ["%b::bytea[]" if kind == "bytea" else _TAKEN_APART for kind in kinds]
    picks = [
        _MADE_OF_TEXT.get(kind, "{}").format(f'u."{name}"')
        for kind, name in zip(kinds, columns, strict=True)
    ]
    picks += [literal for _, literal in always]
    names = ", ".join(f'"{name}"' for name in columns)
    source = f"unnest({', '.join(arrays)}) AS u({names}) "
    into = _insert_into(model, columns, always)
    return f"{into}SELECT {', '.join(picks)} FROM {source}"  # noqa: S608  names of our own


@lru_cache(maxsize=64)
def _kinds(model: type[Model], columns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the type of each column; bytes of a bounded length are a "digest"."""
    fields = {field.column: field for field in model._meta.concrete_fields}
    kinds = ((fields[name].db_type(connection) or "text").split("(")[0] for name in columns)
    return tuple(
        "digest" if kind == "bytea" and fields[name].max_length else kind
        for kind, name in zip(kinds, columns, strict=True)
    )


def _bound(model: type[Model], columns: tuple[str, ...], rows: Sequence[Row]) -> list[Any]:
    """Return what is bound for each column: its values, joined to one text.

    An array of them costs several times as much: the driver builds it value by value in Python.
    Bodies may hold any byte and go as they are.
    """
    bound: list[Any] = []
    for kind, column in zip(_kinds(model, columns), zip(*rows, strict=True), strict=True):
        if kind == "bytea":
            bound.append(list(column))
        elif kind == "digest":
            bound.append(_joined([value.hex() for value in column]))
        else:
            if _NULL in column:
                raise ValueError("A text that is U+001E can't be written in bulk.")
            texts = [_NULL if value is None else str(value) for value in column]
            bound.append(_joined(texts))
    return bound


def _joined(texts: list[str]) -> str:
    joined = _BETWEEN.join(["", *texts])
    if joined.count(_BETWEEN) > len(texts):
        raise ValueError("A text with U+001F in it can't be written in bulk.")
    return joined
