# SPDX-License-Identifier: Apache-2.0
"""The commands of scripts about the database as a whole, and the world around it."""

from __future__ import annotations

import errno

from lsmkv.fuzz._native import lib
from lsmkv.fuzz.engine import (
    MODES,
    Database,
    Disk,
    Publish,
    Space,
    feed,
    repair,
    starve,
)
from lsmkv.fuzz.notation import show
from lsmkv.fuzz.programs import register_zstd
from lsmkv.fuzz.session import (
    SPACE_OPTIONS,
    Session,
    UsageError,
    bounds,
    command,
    number,
)

# Beginnings and ends.


@command("open", any_option=True)
def _open(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Open the database; options keep for later opens; dir= names another directory."""
    del words
    session.leave()
    session.close()
    session.path = options.pop("dir", session.path)
    for name, value in options.items():
        session.options[name] = number(value)
    if session.options.get("codec") == lib.LSMKV_CODEC_ZSTD:
        register_zstd()
    _ = session.opened


@command("close")
def _close(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Close the database; the next command that needs it opens it again."""
    del words, options
    session.leave()
    session.close()


@command("crash [MODE]", {"seed", "sector"})
def _crash(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Lose power, or with the mode ALL only the process."""
    crashed = session.disk.crash(*_how_to_crash(words, options))
    _go_on_with(session, crashed)


def _how_to_crash(
    words: list[bytes], options: dict[str, bytes]
) -> tuple[int, str, int]:
    mode = words[0].decode() if words else "STRICT"
    if mode not in MODES:
        raise UsageError(f"crash: expected one of {' '.join(MODES)}")
    seed = number(options.get("seed", b"1"))
    sector = number(options.get("sector", b"512"))
    return seed, mode, sector


def _go_on_with(session: Session, crashed: Disk) -> None:
    session.abandon()
    session.disk.destroy()
    session.disk = crashed


@command("crash_in STEPS [MODE]", {"seed", "sector"})
def _crash_in(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Lose power so many steps from now, in the midst of what comes; then: crashed."""
    how = _how_to_crash(words[1:], options)
    session.disk.crash_after(number(words[0]), *how)


@command("crashed")
def _crashed(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Go on with what the crash has left that crash_in ordered."""
    del words, options
    crashed, session.disk.caught = session.disk.caught, None
    if crashed is None:
        return ["NOT_REACHED"]
    _go_on_with(session, crashed)
    return None


@command("follow")
def _follow(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Open a follower; reads with follower=1 go to it."""
    del words, options
    session.leave()
    how = {**session.options, "read_only": 1, "follower": 1}
    session.follower = Database(session.disk, how, session.path)


@command("refresh")
def _refresh(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Have the follower show what was written by now."""
    del words, options
    if session.follower is None:
        raise UsageError("there is no follower: follow")
    return ["changed" if session.follower.refresh() else "unchanged"]


# Namespaces and versions.


@command("space NAME", set(SPACE_OPTIONS))
def _space(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Create a namespace; commands with in=NAME mean it."""
    given = {SPACE_OPTIONS[name]: number(value) for name, value in options.items()}
    known = session.spaces.pop((False, words[0]), None)
    if known is not None:
        known.free()
    session.spaces[False, words[0]] = Space(session.opened, words[0], given)


@command("drop NAME")
def _drop(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Drop a namespace."""
    del options
    found = session.opened.drop(words[0])
    for follower in (False, True):
        known = session.spaces.pop((follower, words[0]), None)
        if known is not None:
            known.free()
    return None if found else ["NOT_FOUND"]


@command("spaces", {"snapshot", "follower"})
def _spaces(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print the names of the namespaces."""
    del words
    return [show(name) for name in session.reader(options).spaces(session.at(options))]


@command("publish NAME VERSION")
def _publish(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Begin a version."""
    del options
    if session.publish is not None:
        session.publish.free()
        session.publish = None
    session.publish = Publish(session.opened, words[0], words[1])


@command("feed KEY VALUE", {"ttl_ms"})
def _feed(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Add a row to the version that was begun."""
    if session.publish is None:
        return ["NO_PUBLISH"]
    session.publish.put(words[0], words[1], session.how(options))
    return None


@command("commit")
def _commit(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Make it the version that readers see."""
    return _end_publish(session, "commit")


@command("abort")
def _abort(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Discard it."""
    return _end_publish(session, "abort")


def _end_publish(session: Session, what: str) -> list[str] | None:
    if session.publish is None:
        return ["NO_PUBLISH"]
    publish, session.publish = session.publish, None
    try:
        publish.end(what)
    finally:
        publish.free()
    return None


@command("rollback NAME VERSION")
def _rollback(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Have readers see another version."""
    del options
    found = session.opened.switch("rollback", words[0], words[1])
    return None if found else ["NOT_FOUND"]


@command("release NAME [VERSION]")
def _release(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Let go of a version, or of a name and all its versions."""
    del options
    found = session.opened.switch("release", words[0], (*words, b"")[1])
    return None if found else ["NOT_FOUND"]


@command("versions", {"snapshot", "follower"})
def _versions(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print what is published, with a mark at what readers see."""
    del words
    found = session.reader(options).versions(session.at(options))
    return [f"{show(a)} {show(b)}{' current' if now else ''}" for a, b, now in found]


# Maintenance.


def _maintain(what: str, doc: str) -> None:
    def run(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
        del words, options
        session.opened.maintain(what)

    run.__doc__ = doc
    command(what)(run)


_maintain("flush", "Write the memtable out as a table.")
_maintain("sync", "Make everything so far survive power loss.")
_maintain("settle", "Wait until nothing is due in the background.")
_maintain("resume", "Try again at once what a full disk had stopped.")


@command("compact [START] [STOP]", {"in"})
def _compact(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Compact a range down to the last level that holds any of it."""
    session.opened.compact(bounds(words), session.space(options))


@command("warm")
def _warm(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Read what was in memory at the last close."""
    del words, options
    session.opened.warm()


@command("step [COUNT]")
def _step(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Run steps of background work."""
    del options
    session.opened.step(number(words[0]) if words else 1)


@command("checkpoint DIR")
def _checkpoint(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> None:
    """Make a directory a database with the state of this moment: open dir=DIR."""
    del options
    session.opened.checkpoint(words[0])


@command("repair DIR")
def _repair(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Close, and make a directory a database of what can be read; prints the losses."""
    del options
    session.leave()
    session.close()
    return repair(session.disk, session.path, words[0])


@command("verify")
def _verify(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Check every byte; prints what is wrong."""
    del words, options
    return session.opened.problems()


@command("files")
def _files(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Check that no file is missing or too many; prints the first one that is."""
    del words, options
    stray = session.opened.stray_file()
    return [] if stray is None else [stray]


@command("state")
def _state(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print open, degraded or poisoned."""
    del words, options
    return [session.opened.state()]


@command("levels")
def _levels(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str]:
    """Print how many tables each level has."""
    del words, options
    return [" ".join(map(str, session.opened.level_tables()))]


# The world outside.


@command("advance MS")
def _advance(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Let time pass, or set the clock back; the database looks at it at once."""
    del options
    session.disk.advance_ms(number(words[0]))
    session.opened.follow_clock()


@command("jump MS")
def _jump(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Set the wall clock ahead, while no time passes; nobody looks at it yet."""
    del options
    session.disk.jump_ms(number(words[0]))


@command("starve AFTER [COUNT]")
def _starve(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Let an allocation of the engine fail after so many others, or COUNT in a row."""
    del options
    _ = session.opened
    session.disk.exempt_memory()
    starve(number(words[0]), number(words[1]) if len(words) > 1 else 1)


@command("fail CALL", {"skip", "errno", "sticky"})
def _fail(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Let a coming call of a class fail: OPEN READ APPEND SYNC DIR_SYNC RENAME ..."""
    name = options.get("errno", b"EIO").decode()
    code = getattr(errno, name, None)
    if not isinstance(code, int):
        raise UsageError(f"fail: {name} is no errno")
    try:
        session.disk.fail(
            words[0].decode(),
            number(options.get("skip", b"0")),
            code,
            sticky=bool(options.get("sticky")),
        )
    except AttributeError:
        raise UsageError(f"fail: no calls {words[0].decode()}") from None


@command("heal")
def _heal(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """End every failure, and let the time pass after which the engine tries again."""
    del words, options
    feed()
    for call in ("OPEN", "READ", "APPEND", "SYNC", "DIR_SYNC", "RENAME", "UNLINK"):
        session.disk.fail(call, 0, 0, sticky=False)
    for call in ("TRUNCATE", "CLOSE", "LINK", "LIST", "SIZE"):
        session.disk.fail(call, 0, 0, sticky=False)
    session.disk.set_quota(0)
    session.disk.advance_ms(120_000)


@command("quota BYTES")
def _quota(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Have the disk be full at so many bytes; 0 ends it."""
    del options
    session.disk.set_quota(number(words[0]))


@command("flip FILE OFFSET [MASK]")
def _flip(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Change a byte of a file at rest; a negative offset counts from its end."""
    del options
    data = session.disk.read_file(session.path, words[0])
    if data is None:
        return ["NO_SUCH_FILE"]
    damaged = bytearray(data)
    damaged[number(words[1])] ^= number(words[2]) if len(words) > 2 else 1
    session.disk.write_file(session.path, words[0], bytes(damaged))
    return None


@command("cut FILE SIZE")
def _cut(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Cut a file at rest; a negative size counts from its end."""
    del options
    data = session.disk.read_file(session.path, words[0])
    if data is None:
        return ["NO_SUCH_FILE"]
    session.disk.write_file(session.path, words[0], data[: number(words[1])])
    return None


@command("write FILE BYTES")
def _write(session: Session, words: list[bytes], options: dict[str, bytes]) -> None:
    """Make a file at rest hold just these bytes."""
    del options
    session.disk.write_file(session.path, words[0], words[1])


@command("remove FILE")
def _remove(
    session: Session, words: list[bytes], options: dict[str, bytes]
) -> list[str] | None:
    """Remove a file at rest."""
    del options
    removed = session.disk.remove_file(session.path, words[0])
    return None if removed else ["NO_SUCH_FILE"]
