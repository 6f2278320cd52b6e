"""Many rows at once, the same on both databases and as fast as each takes them."""

from __future__ import annotations

import functools
import json
import operator
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    ARRAY,
    ColumnElement,
    Date,
    Dialect,
    Select,
    String,
    Table,
    Text,
    any_,
    cast,
    func,
    insert,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

MOST_ROWS = 500
MOST_VALUES = 30_000  # SQLite takes 32,766 in a statement


def insert_rows(session: Session, table: Any, rows: Iterable[dict[str, Any]]) -> None:
    """Insert rows that all name the same columns. Columns that they do not name get one default for all.

    On SQLite hundreds of rows make a statement, whose values go to the driver directly: the index of words writes a segment
    at the end of each statement, so that a statement a row costs twice the time of the rows themselves.
    """
    listed = list(rows)
    if not listed:
        return
    connection = session.connection()
    if connection.dialect.name != "sqlite":
        connection.execute(insert(table.__table__), listed)
        return
    shape = _shape(table.__table__, tuple(listed[0]), connection.dialect)
    defaults = shape.defaults()
    size = min(MOST_ROWS, MOST_VALUES // shape.width)
    for start in range(0, len(listed), size):
        part = listed[start : start + size]
        connection.exec_driver_sql(shape.statement(len(part)), shape.values(part, defaults))


@dataclass(frozen=True)
class _Shape:
    """A statement for the driver, makers of the columns that rows do not name, and what turns values into the driver's."""

    head: str
    width: int
    named: Callable[[dict[str, Any]], Any]
    makers: Sequence[Callable[[], Any]]
    processors: Sequence[tuple[int, Callable[[Any], Any]]]

    def statement(self, count: int) -> str:
        marks = f"({', '.join('?' * self.width)})"
        return f"{self.head} VALUES {', '.join([marks] * count)}"

    def defaults(self) -> list[Any]:
        return [make() for make in self.makers]

    def values(self, rows: Iterable[dict[str, Any]], defaults: list[Any]) -> tuple[Any, ...]:
        flat: list[Any] = []
        for row in rows:
            values = list(self.named(row))
            for place, process in self.processors:
                values[place] = process(values[place])
            flat += values
            flat += defaults
        return tuple(flat)


@functools.lru_cache(64)
def _shape(table: Table, names: tuple[str, ...], dialect: Dialect) -> _Shape:
    missing = [c for c in table.columns if c.name not in names and c.default is not None]
    columns = [*(table.columns[name] for name in names), *missing]
    quoted = ", ".join(dialect.identifier_preparer.quote(c.name) for c in columns)
    processors = [_processor(c.type, dialect) for c in columns]
    makers = [_maker(c.default, process) for c, process in zip(missing, processors[len(names) :], strict=True)]
    named: Any = operator.itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
    found = [(place, process) for place, process in enumerate(processors[: len(names)]) if process is not None]
    return _Shape(f"INSERT INTO {table.name} ({quoted})", len(columns), named, makers, found)


def _processor(kind: Any, dialect: Dialect) -> Callable[[Any], Any] | None:
    if isinstance(kind, Date):
        return lambda day: day if day is None else day.isoformat()
    process: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return process


def _maker(default: Any, process: Callable[[Any], Any] | None) -> Callable[[], Any]:
    """A column's default as a function: SQLAlchemy hands callables a context that none of ours reads."""

    def make() -> Any:
        value = default.arg(None) if default.is_callable else default.arg
        return value if process is None else process(value)

    return make


def among(session: Session, column: InstrumentedAttribute[Any], values: Collection[Any]) -> ColumnElement[bool]:
    """Whether a column's value is one of many. They cross as one value, so that the statement is the same for any number."""
    if session.get_bind().dialect.name == "postgresql":
        kind = Text() if isinstance(column.type, String) else column.type  # a cast to a varchar would cut
        return column == any_(cast(list(values), ARRAY(kind)))
    listed: Select[Any] = select(literal_column("value")).select_from(func.json_each(json.dumps(list(values))))
    return column.in_(listed)


def reserve_ids(session: Session, table: Any, n: int) -> list[int]:
    """The next `n` ids of a table, ours within this transaction."""
    if n == 0:
        return []
    if session.get_bind().dialect.name == "postgresql":
        statement = text("SELECT nextval(pg_get_serial_sequence(:name, 'id')) FROM generate_series(1, :n)")
        return list(session.scalars(statement, {"name": table.__tablename__, "n": n}))
    first = (session.scalar(select(func.max(table.id))) or 0) + 1
    return list(range(first, first + n))
