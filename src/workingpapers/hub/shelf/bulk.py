"""Many rows at once, the same on both databases and as fast as each takes them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from sqlalchemy import Dialect, Table, func, insert, select, text
from sqlalchemy.orm import Session


def insert_rows(session: Session, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns.

    On SQLite the values go to the driver directly: going through the compiler for each row took a third of an intake's time.
    """
    listed = list(rows)
    if not listed:
        return
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.execute(insert(table.__table__), listed)
        return
    names = tuple(listed[0])
    statement, defaults, processors = _prepared(table.__table__, names, connection.dialect)
    connection.exec_driver_sql(statement, [
        tuple([value if process is None else process(value) for value, process in zip(
            (*[row[name] for name in names], *[default() for default in defaults]), processors, strict=True)]) for row in listed])


@functools.lru_cache(64)
def _prepared(table: Table, names: tuple[str, ...], dialect: Dialect) -> tuple[str, list[Callable[[], Any]], list[Any]]:
    """A statement for the driver, makers of the columns that rows do not name, and what turns values into the driver's."""
    missing = [c for c in table.columns if c.name not in names and c.default is not None]
    columns = [*(table.columns[name] for name in names), *missing]
    marks = ", ".join("?" * len(columns))
    quoted = ", ".join(dialect.identifier_preparer.quote(c.name) for c in columns)
    statement = f"INSERT INTO {table.name} ({quoted}) VALUES ({marks})"
    return statement, [_maker(c.default) for c in missing], [c.type.dialect_impl(dialect).bind_processor(dialect) for c in columns]


def _maker(default: Any) -> Callable[[], Any]:
    """A column's default as a function: SQLAlchemy hands callables a context that none of ours reads."""
    if default.is_callable:
        return lambda: default.arg(None)
    return lambda: default.arg


def reserve_ids(session: Session, table: Any, n: int) -> list[int]:
    """The next `n` ids of a table, ours within this transaction."""
    if n == 0:
        return []
    if session.get_bind().dialect.name == "postgresql":
        statement = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :n)")
        return list(session.scalars(statement, {"name": table.__tablename__, "n": n}))
    first = (session.scalar(select(func.max(table.id))) or 0) + 1
    return list(range(first, first + n))
