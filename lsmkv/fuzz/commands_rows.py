# SPDX-License-Identifier: Apache-2.0
"""The commands of scripts that write and read rows."""

from __future__ import annotations

from lsmkv.fuzz.engine import Batch, Cursor, EngineError, Snapshot
from lsmkv.fuzz.notation import show
from lsmkv.fuzz.session import (
    READ_OPTIONS,
    WRITE_OPTIONS,
    Session,
    UsageError,
    bounds,
    command,
    number,
    show_row,
    show_value,
)

# Writes.


@command("put KEY VALUE", WRITE_OPTIONS)
def _put(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Write a row."""
    written = session.opened.put(words[0], words[1], session.how(options))
    return None if written else ["NOT_FOUND"]


@command("delete KEY", {"in", "sync"})
def _delete(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Delete a row."""
    session.opened.delete(words[0], session.how(options))


@command("delete_range [START] [STOP]", {"in", "sync"})
def _delete_range(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> None:
    """Delete the rows from START on that lie before STOP."""
    session.opened.delete_range(bounds(words), session.how(options))


@command("touch KEY", {"in", "sync", "ttl_ms", "stale_ms"})
def _touch(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Give a value new times."""
    found = session.opened.touch(words[0], session.how(options))
    return None if found else ["NOT_FOUND"]


@command("batch [RECORD...]", {"sync"})
def _batch(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Write several at once: put KEY VALUE, delete KEY, delete_range START STOP."""
    left = iter(words)
    batch = Batch()
    try:
        for what in left:
            if what == b"put":
                batch.put(next(left), next(left))
            elif what == b"delete":
                batch.delete(next(left))
            elif what == b"delete_range":
                batch.delete_range(bounds([next(left), next(left)]))
            else:
                raise UsageError(f"batch: no record {show(what)}")
        session.opened.write(batch, session.how(options))
    except StopIteration:
        raise UsageError("batch: the last record is incomplete") from None
    finally:
        batch.free()


# Reads.


@command("get KEY", READ_OPTIONS)
def _get(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Print a value, - if there is none."""
    at = session.at(options)
    return [show_value(session.reader(options).get(words[0], at))]


@command("view KEY", READ_OPTIONS)
def _view(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Print a value that is lent, not copied."""
    at = session.at(options)
    return [show_value(session.reader(options).get_view(words[0], at))]


@command("get_many [KEY...]", READ_OPTIONS)
def _get_many(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print values, a line each."""
    found = session.reader(options).get_many(words, session.at(options))
    return [
        f"{show(key)} {show_value(value)}"
        for key, value in zip(words, found, strict=True)
    ]


@command("agree KEY", READ_OPTIONS)
def _agree(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Read a row in every way; prints what each found if they do not agree."""
    found = session.reader(options).readings(words[0], session.at(options))
    if len(set(found.values())) == 1:
        return []
    return [f"{way}: {show_value(value)}" for way, value in found.items()]


@command("scan [START] [STOP]", READ_OPTIONS | {"reverse"})
def _scan(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Print rows, a line each."""
    at = session.at(options)
    reverse = bool(options.get("reverse"))
    rows = session.reader(options).items(at, bounds(words), reverse=reverse)
    return [show_row(row) for row in rows]


@command("count [START] [STOP]", READ_OPTIONS)
def _count(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print about how many rows there are."""
    at = session.at(options)
    return [str(session.reader(options).count(at, bounds(words)))]


@command("ttl KEY", READ_OPTIONS)
def _ttl(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Print the milliseconds left to a value, never, or - if there is none."""
    left = session.reader(options).ttl_ms(words[0], session.at(options))
    return ["-" if left is None else "never" if left < 0 else str(left)]


@command("snapshot NAME")
def _snapshot(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Make a snapshot; reads with snapshot=NAME show it."""
    _release_snapshot(session, words, options)
    session.snapshots[words[0]] = Snapshot(session.opened)


@command("free_snapshot NAME")
def _release_snapshot(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> None:
    """Let a snapshot go."""
    del options
    known = session.snapshots.pop(words[0], None)
    if known is not None:
        known.free()


@command("cursor NAME [START] [STOP]", READ_OPTIONS)
def _cursor(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Make a cursor, which is not on a row yet."""
    _free_cursor(session, words[:1], {})
    session.cursors[words[0]] = Cursor(
        session.reader(options), bounds(words[1:]), session.at(options)
    )


@command("move NAME [WHERE...]")
def _move(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Move a cursor: first, last, next, prev; prints the row after each move."""
    del options
    cursor = session.cursors.get(words[0])
    if cursor is None:
        return ["NO_SUCH_CURSOR"]
    moves = {b"first": "seek_first", b"last": "seek_last"}
    rows: list[str] = []
    for where in words[1:]:
        if where not in {*moves, b"next", b"prev"}:
            raise UsageError("move: expected first, last, next or prev")
        try:
            cursor.move(moves.get(where, where.decode()))
            rows.append(show_row(cursor.row()))
        except EngineError as error:
            rows.append(error.status)
    return rows


@command("seek NAME KEY", {"back"})
def _seek(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Move a cursor to the first key from KEY on; with back=1 the last one up to it."""
    cursor = session.cursors.get(words[0])
    if cursor is None:
        return ["NO_SUCH_CURSOR"]
    cursor.seek(words[1], for_prev=bool(options.get("back")))
    return [show_row(cursor.row())]


@command("fill NAME", {"rows", "bytes", "reverse"})
def _fill(session: Session, words: list[bytes], options: dict[str, bytes]) -> list[str]:
    """Print a run of rows of a cursor, which is left on the next one."""
    cursor = session.cursors.get(words[0])
    if cursor is None:
        return ["NO_SUCH_CURSOR"]
    rows = cursor.fill(
        reverse=bool(options.get("reverse")),
        row_max=number(options.get("rows", b"0")),
        byte_max=number(options.get("bytes", b"0")),
    )
    return [show_row(row) for row in rows]


@command("free_cursor NAME")
def _free_cursor(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> None:
    """Let a cursor go."""
    del options
    known = session.cursors.pop(words[0], None)
    if known is not None:
        known.free()
