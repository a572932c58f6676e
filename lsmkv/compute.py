# SPDX-License-Identifier: Apache-2.0
"""Values that are computed when they are missing, once for all who ask.

`Keyspace.get_or_compute` and its kin come here when a fresh value is not there. One
caller computes (`flights.py`), in this order: take a snapshot, look once more, call the
function, store the value unless anything came to the key since the snapshot, land. So a
put or delete that comes while a value is computed wins, and who waits for a value that
could not be stored asks again. So does who comes when it may have been stored already
(`Flight.settling`), for a delete may have come behind it: nobody gets a value that is
older than a delete which was over before the call began.
"""

from __future__ import annotations

import contextlib
import contextvars
import logging
import threading
import time
from typing import TYPE_CHECKING, Any, Literal, Self

from lsmkv import _base, _compute, _core
from lsmkv.errors import ClosedError, Error, InvalidArgumentError
from lsmkv.flights import (
    Flight,
    Flights,
    Landed,
    computing,
    running_loop,
    start_thread,
)
from lsmkv.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

    from typing_extensions import Buffer

    from lsmkv.ttl import Stale, Ttl

Entry = bytes | tuple[bytes, float] | None  # what _compute.entry() returns
OnError = Literal["raise", "stale"]

FEW = 64  # keys that are looked for on an event loop's thread

_making = threading.Lock()


def flights_of(space: Any) -> Flights:
    """Return the flights of a keyspace's database."""
    db = space.db if hasattr(space, "db") else space
    if db._flights is None:
        with _making:
            if db._flights is None:
                db._flights = Flights()
    flights: Flights = db._flights
    return flights


class Want:
    """What a caller asks for, and how."""

    __slots__ = ("db", "flights", "on_error", "space", "stale", "times", "until")

    def __init__(
        self,
        space: Any,
        ttl: Ttl,
        stale: Stale,
        on_error: OnError = "raise",
        timeout: float | None = None,
    ) -> None:
        """Check the arguments."""
        stale_ms = _compute.stale_milliseconds(space, stale)
        if on_error not in ("raise", "stale"):
            raise InvalidArgumentError(
                f'on_error is {on_error!r}: must be "raise" or "stale"'
            )
        if timeout is not None and not timeout >= 0:
            raise InvalidArgumentError(f"timeout is {timeout!r}: must be 0 or more")
        self.space = space
        self.db: _core.DB = space.db if hasattr(space, "db") else space
        self.flights = flights_of(space)
        self.stale = max(0, stale_ms) / 1000
        self.times = (_compute.milliseconds(ttl), stale_ms)
        self.on_error = on_error
        if timeout is not None and timeout > threading.TIMEOUT_MAX:
            timeout = None  # longer than anything waits
        self.until = None if timeout is None else time.monotonic() + timeout

    def place(self, key: bytes) -> tuple[int, bytes]:
        """Name the key among all of the database."""
        return _compute.number(self.space), key

    def accepts(self, found: Entry) -> bytes | None:
        """Return the value of an entry if it is fresh, or stale for not too long."""
        if type(found) is tuple:
            if found[1] >= self.stale:
                return None
            _compute.count(self.space, _compute.STALE_HITS, 1)
            return found[0]
        return found  # type: ignore[return-value]

    def left(self) -> float | None:
        """Return the seconds that the caller still waits, None for ever."""
        return None if self.until is None else max(0.0, self.until - time.monotonic())

    def after(self, error: Exception, key: bytes) -> bytes:
        """Return the stale value that will do when computing failed, else raise."""
        found = None
        if self.on_error == "stale":
            with contextlib.suppress(ClosedError):
                found = _compute.entry(self.space, key)
        if found is None:
            try:
                raise error
            finally:  # else it would refer to itself, and to flights not landed yet
                del error
        return found[0] if type(found) is tuple else found  # type: ignore[return-value]


class Turn:
    """The turn of the one caller that computes: a context around the computation.

    `missing` are the flights whose values are to be computed, and `store` takes these
    in. Whatever happens inside, all flights land. Without `waits`, `unseen` are those
    of which only `look` can tell, in a thread, whether they are missing.
    """

    def __init__(
        self,
        want: Want,
        mine: Sequence[Flight],
        *,
        background: bool = False,
        waits: bool = True,
    ) -> None:
        """Take over the flights."""
        self.want = want
        self.mine = mine
        self.missing: list[Flight] = []
        self.unseen: Sequence[Flight] = mine
        self.values: dict[bytes, bytes] = {}
        self._outer = () if background else computing.get()
        self._waits = waits
        self._token: contextvars.Token[tuple[Flight, ...]] | None = None
        self._snapshot: Snapshot | None = None

    def __enter__(self) -> Self:
        """Look once more: between the caller's look and its turn another may end."""
        try:
            self._snapshot = Snapshot(self.want.db)
            if self._waits or len(self.mine) <= FEW:
                self.look(self._waits)
        except BaseException as error:
            self._end(error)
            raise
        self._token = computing.set((*self._outer, *self.mine))
        return self

    def look(self, waits: bool = True) -> None:
        """Find out which of the unseen flights are missing, and land the others."""
        blocked = []
        for flight in self.unseen:
            flight.settling = True
            found = self._look_again(flight.place[1], waits)
            if type(found) is bytes:
                self._land(flight, Landed(found, True))
                continue
            flight.settling = False
            if found is _compute.BLOCKED:
                blocked.append(flight)
            else:
                self.missing.append(flight)
        self.unseen = blocked

    def _look_again(self, key: bytes, waits: bool) -> object:
        space = self.want.space
        fresh = _compute.is_fresh(space, key, waits)
        return _compute.entry(space, key, waits) if fresh is True else fresh

    def store(self, flight: Flight, value: Buffer, *, waits: bool = True) -> bool:
        """Store a computed value, unless something came, and land its flight.

        False: it would have had to wait, and has done nothing.
        """
        key, kept = flight.place[1], _base.to_bytes(value)
        snapshot = self._snapshot
        assert snapshot is not None
        flight.settling = True
        stored = _compute.store_since(
            self.want.space, key, kept, self.want.times, snapshot, waits
        )
        if stored is _compute.BLOCKED:
            flight.settling = False
            return False
        _compute.count(self.want.space, _compute.COMPUTED, 1)
        self._land(flight, Landed(kept, stored))
        return True

    def store_all(self, pairs: Iterable[tuple[Flight, Buffer]]) -> None:
        """Store values, each as `store` does."""
        for flight, value in pairs:
            self.store(flight, value)

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Land what has not landed."""
        try:
            if self._token is not None:
                with contextlib.suppress(ValueError):  # collected in another context
                    computing.reset(self._token)
        finally:
            self._end(exc)

    def _land(self, flight: Flight, landed: Landed) -> None:
        self.values[flight.place[1]] = landed.value
        self.want.flights.land(flight, landed)

    def _end(self, outcome: BaseException | None) -> None:
        try:
            if self._snapshot is not None:
                self._snapshot.close()
        finally:
            for flight in self.mine:
                self.want.flights.land(flight, outcome)


def get(
    space: Any,
    want: Want,
    key: Buffer,
    fn: Callable[[], Buffer],
    found: Entry,
) -> bytes:
    """Do what Keyspace.get_or_compute does once it has `found` no fresh value."""
    held = _base.to_bytes(key)

    def lead(mine: Sequence[Flight], *, background: bool = False) -> bytes:
        with Turn(want, mine, background=background) as turn:
            for flight in turn.missing:
                turn.store(flight, fn())
        return turn.values[held]

    superseded = False
    while True:
        value = want.accepts(found)
        if value is not None:
            if type(found) is tuple:
                _refresh(want, [held], lead)
            return value
        mine, others = want.flights.join([want.place(held)], blocks=True)
        try:
            if mine and want.until is None:
                return lead(mine)
            if mine:
                try:
                    _apart(mine, lead)
                except BaseException as error:
                    want.flights.land(mine[0], error)
                    raise
            landed = _wait(want, (mine or others)[0], coalesced=not mine)
            if landed is None and mine:
                raise Error("the computation was given up")
        except Exception as error:
            return want.after(error, held)
        if landed is not None and (landed.stored or mine or superseded):
            return landed.value
        superseded |= landed is not None
        found = _compute.entry(space, held)


class _Many:
    """What is known so far of the keys of one call."""

    def __init__(self, want: Want, keys: Iterable[bytes]) -> None:
        """Know nothing."""
        self.want = want
        self.values: dict[bytes, bytes] = {}
        self._keys = list(dict.fromkeys(keys))
        self._superseded: set[bytes] = set()

    def pending(self) -> list[bytes]:
        """Return the keys that have no value yet."""
        return [key for key in self._keys if key not in self.values]

    def take(self, entries: Iterable[tuple[bytes, Entry]]) -> list[bytes]:
        """Take the entries that will do; return the keys of those that are stale."""
        aged = []
        for key, found in entries:
            value = self.want.accepts(found)
            if value is not None:
                self.values[key] = value
                if type(found) is tuple:
                    aged.append(key)
        return aged

    def land(self, flight: Flight, landed: Landed | None) -> None:
        """Take what another call has computed, unless it was overtaken."""
        key = flight.place[1]
        if landed is not None and (landed.stored or key in self._superseded):
            self.values[key] = landed.value
        elif landed is not None:
            self._superseded.add(key)


def _missing(turn: Turn) -> list[bytes]:
    return [flight.place[1] for flight in turn.missing]


def _pair(turn: Turn, computed: Iterable[Buffer]) -> list[tuple[Flight, Buffer]]:
    """Return the flights of a turn, each with what was computed for it."""
    values = list(computed)
    if len(values) != len(turn.missing):
        raise InvalidArgumentError(
            f"fn_missing returned {len(values)} values for {len(turn.missing)} keys"
        )
    return list(zip(turn.missing, values, strict=True))


def get_many(
    space: Any,
    want: Want,
    keys: Iterable[Buffer],
    fn_missing: Callable[[list[bytes]], Iterable[Buffer]],
) -> list[bytes]:
    """Do what Keyspace.get_or_compute_many does."""
    held = [_base.to_bytes(key) for key in keys]

    def lead(mine: Sequence[Flight], *, background: bool = False) -> dict[bytes, bytes]:
        with Turn(want, mine, background=background) as turn:
            if turn.missing:
                turn.store_all(_pair(turn, fn_missing(_missing(turn))))
        return turn.values

    first = _compute.entries(space, held)
    if all(type(found) is bytes for found in first):
        return first  # type: ignore[return-value]
    many = _Many(want, held)
    entries = dict(zip(held, first, strict=True))
    while entries:
        aged = many.take(entries.items())
        if aged:
            _refresh(want, aged, lead)
        mine, others = want.flights.join(map(want.place, many.pending()), blocks=True)
        try:
            if mine:
                many.values.update(lead(mine))
            for flight in others:
                many.land(flight, _wait(want, flight))
        finally:
            for flight in others:
                want.flights.leave(flight)
        again = many.pending()
        found = _compute.entries(space, again) if again else []
        entries = dict(zip(again, found, strict=True))
    return [many.values[key] for key in held]


async def aget(
    space: Any,
    want: Want,
    key: Buffer,
    fn: Callable[[], Awaitable[Buffer]],
    found: Entry,
) -> bytes:
    """Do what Keyspace.aget_or_compute does once it has `found` no fresh value."""
    import asyncio

    held = _base.to_bytes(key)

    async def lead(mine: Sequence[Flight], *, background: bool = False) -> bytes:
        with Turn(want, mine, background=background, waits=False) as turn:
            if turn.unseen:
                await asyncio.to_thread(turn.look)
            for flight in turn.missing:
                made = await fn()
                if not turn.store(flight, made, waits=False):
                    await asyncio.to_thread(turn.store, flight, made)
        return turn.values[held]

    superseded = False
    while True:
        if found is _compute.BLOCKED:
            found = await asyncio.to_thread(_compute.entry, space, held)
        value = want.accepts(found)
        if value is not None:
            if type(found) is tuple:
                mine = want.flights.begin([want.place(held)], running_loop())
                if mine:
                    _task(want, lead(mine, background=True), mine)
            return value
        mine, others = want.flights.join([want.place(held)], blocks=False)
        try:
            if mine and want.until is None:
                return await lead(mine)
            if mine:
                _task(want, lead(mine), mine, reports=False)
            landed = await _await(want, (mine or others)[0], coalesced=not mine)
            if landed is None and mine:
                raise Error("the computation was given up")
        except Exception as error:
            return want.after(error, held)
        if landed is not None and (landed.stored or mine or superseded):
            return landed.value
        superseded |= landed is not None
        found = _compute.entry(space, held, False)


async def aget_many(
    space: Any,
    want: Want,
    keys: Iterable[Buffer],
    fn_missing: Callable[[list[bytes]], Awaitable[Iterable[Buffer]]],
) -> list[bytes]:
    """Do what get_many does, with a coroutine function, without blocking."""
    import asyncio

    held = [_base.to_bytes(key) for key in keys]

    async def lead(
        mine: Sequence[Flight], *, background: bool = False
    ) -> dict[bytes, bytes]:
        with Turn(want, mine, background=background, waits=False) as turn:
            if turn.unseen:
                await asyncio.to_thread(turn.look)
            if turn.missing:
                pairs = _pair(turn, await fn_missing(_missing(turn)))
                if len(pairs) > FEW:
                    await asyncio.to_thread(turn.store_all, pairs)
                    return turn.values
                for flight, value in pairs:
                    if not turn.store(flight, value, waits=False):
                        await asyncio.to_thread(turn.store, flight, value)
        return turn.values

    many = _Many(want, held)
    while pending := many.pending():
        aged = many.take(await _aentries(space, pending))
        refreshed = want.flights.begin(map(want.place, aged), running_loop())
        if refreshed:
            _task(want, lead(refreshed, background=True), refreshed)
        mine, others = want.flights.join(map(want.place, many.pending()), blocks=False)
        try:
            if mine:
                many.values.update(await lead(mine))
            for flight in others:
                many.land(flight, await _await(want, flight, coalesced=True))
        finally:
            for flight in others:
                want.flights.leave(flight)
    return [many.values[key] for key in held]


async def _aentries(space: Any, keys: list[bytes]) -> Iterable[tuple[bytes, Entry]]:
    """Return each key with its entry; what is not in memory comes from a thread."""
    import asyncio

    late = keys
    entries: dict[bytes, Entry] = {}
    if len(keys) <= FEW:
        entries = {key: _compute.entry(space, key, False) for key in keys}
        late = [key for key in keys if entries[key] is _compute.BLOCKED]
    if late:
        found = await asyncio.to_thread(_compute.entries, space, late)
        entries.update(zip(late, found, strict=True))
    return entries.items()


def _wait(want: Want, flight: Flight, *, coalesced: bool = True) -> Landed | None:
    late = flight.settling
    if coalesced:
        _compute.count(want.space, _compute.COALESCED, 1)
    try:
        return _trusted(flight.future.result(want.left()), late)
    finally:
        want.flights.leave(flight)


async def _await(want: Want, flight: Flight, *, coalesced: bool) -> Landed | None:
    import asyncio

    late = flight.settling
    if coalesced:
        _compute.count(want.space, _compute.COALESCED, 1)
    try:
        # The future is running, so who gives up waiting cannot cancel it.
        waiting = asyncio.wrap_future(flight.future)
        return _trusted(await asyncio.wait_for(waiting, want.left()), late)
    finally:
        want.flights.leave(flight)


def _trusted(landed: Landed | None, late: bool) -> Landed | None:
    """Have who came late ask again, as if nothing had been stored."""
    return landed._replace(stored=False) if late and landed is not None else landed


def _refresh(want: Want, keys: list[bytes], lead: Callable[..., object]) -> None:
    """Have values computed anew in the background that nobody is computing."""
    mine = want.flights.begin(map(want.place, keys))
    if not mine:
        return
    context = contextvars.copy_context()
    try:
        want.flights.workers.submit(
            lambda: context.run(_quietly, lead, mine, background=True)
        )
    except RuntimeError:  # no more threads: a later caller may have more luck
        for flight in mine:
            want.flights.land(flight, None)


def _quietly(
    lead: Callable[..., object], mine: list[Flight], *, background: bool
) -> None:
    try:
        lead(mine, background=background)
    except ClosedError:
        pass
    except BaseException as error:
        if background:  # else there is one who waits for it
            with contextlib.suppress(Exception):  # of a handler of the host's
                _report(mine, error)


def _apart(mine: list[Flight], lead: Callable[..., object]) -> None:
    """Compute in a thread of its own, so that the caller can stop waiting."""
    context = contextvars.copy_context()
    start_thread(lambda: context.run(_quietly, lead, mine, background=False))


def _task(
    want: Want, computation: Any, mine: list[Flight], *, reports: bool = True
) -> None:
    """Compute in a task of its own."""
    import asyncio

    def done(task: asyncio.Task[bytes]) -> None:
        want.flights.tasks.discard(task)
        for flight in mine:  # cancelled before its first step, it has not done it
            want.flights.land(flight, None)
        error = None if task.cancelled() else task.exception()
        if error is not None and reports and not isinstance(error, ClosedError):
            _report(mine, error)

    task = asyncio.get_running_loop().create_task(computation)
    want.flights.tasks.add(task)
    task.add_done_callback(done)


def _report(mine: Sequence[Flight], error: BaseException) -> None:
    logging.getLogger("lsmkv").warning(
        "refreshing %r failed; its stale value stays as long as it may",
        mine[0].place[1],
        exc_info=error,
    )
