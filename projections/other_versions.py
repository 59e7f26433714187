"""Read, or continue, a generation that another version of Photolog has written.

| the other version has | this code |
|---|---|
| the same tables, and other indexes | continues the file, once the projector has made its indexes |
| more or fewer tables or columns | reads it until its own generation is complete |
| a column with another type, another trigger, another ``MEANING`` | cannot use it |

So gateways of two versions serve from one file while they replace each other, and a gateway serves
from the file of its predecessor while the projector folds a new one. A query that needs a table,
column or index that the file lacks is refused, see ``store.sqlite.reader``: an empty result would
deny facts that the log has.
"""

import logging
from functools import cache
from pathlib import Path
from typing import NamedTuple

from projections.generation import FORM, INDEXES, MEANING, SCHEMA
from store.sqlite.connection import Connection, Row
from store.sqlite.generations import Generations
from store.sqlite.reader import Reader

logger = logging.getLogger("photolog.projector")

COLUMNS = """
SELECT m.name, c.name, c.type, c."notnull", c.dflt_value, c.pk, c.hidden
FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c WHERE m.type = 'table'
"""

OBJECTS = "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"


class _Layout(NamedTuple):
    """The columns of a file by table and name, its indexes by name, and all that it has beside."""

    columns: dict[tuple[str, str], Row]
    indexes: dict[str, str]
    triggers: frozenset[Row]
    others: frozenset[Row]


def reader_of(generations: Generations) -> Reader:
    """Return a reader that also reads generations of other versions, as far as this code can."""
    return Reader(generations, form=FORM, unreadable=unreadable)


def unreadable(db: Connection) -> str | None:
    """Return why this code cannot read the generation of another version; None if it can.

    Queries that find everything they need then give what the other version would give.
    """
    if db.execute("PRAGMA application_id") != [(MEANING,)]:
        return "its rows mean something else"
    own, found = _own(), _layout_of(db)
    for place in own.columns.keys() & found.columns.keys():
        if own.columns[place] != found.columns[place]:
            return f"its column {'.'.join(place)} is another one"
    return None if own.triggers == found.triggers else "its triggers are other ones"


def adopt(db: Connection) -> None:
    """Make the indexes of this code in a generation that differs in nothing else.

    Queries continue meanwhile; it can then be folded further. Other generations stay as they are.
    """
    if db.execute("PRAGMA user_version") == [(FORM,)]:
        return
    if db.execute("PRAGMA application_id") != [(MEANING,)]:
        return
    own, found = _own(), _layout_of(db)
    if own._replace(indexes={}) != found._replace(indexes={}):
        return
    with db.transaction():
        for name in found.indexes.keys() - own.indexes.keys():
            db.execute(f'DROP INDEX "{name}"')
        for name, sql in own.indexes.items():
            if found.indexes.get(name) != sql:
                db.execute(f'DROP INDEX IF EXISTS "{name}"')
                db.execute(sql)
        db.execute(f"PRAGMA user_version = {FORM}")
    logger.info("made the indexes of this version in generation %s", db.path.name)


@cache
def _own() -> _Layout:
    db = Connection(Path(":memory:"), read_only=False)
    db.execute(SCHEMA + INDEXES)
    layout = _layout_of(db)
    db.close()
    return layout


def _layout_of(db: Connection) -> _Layout:
    objects = frozenset(db.execute(OBJECTS))
    indexes = frozenset(each for each in objects if each[0] == "index")
    return _Layout(
        columns={(row[0], row[1]): row[2:] for row in db.execute(COLUMNS)},
        indexes={name: sql for _, name, sql in indexes},
        triggers=frozenset(each for each in objects if each[0] == "trigger"),
        others=objects - indexes,
    )
