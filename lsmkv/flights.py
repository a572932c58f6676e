# SPDX-License-Identifier: Apache-2.0
"""Which values are being computed right now: one flight for each key of a database.

Whoever finds no flight for a key makes one and computes; all others, threads and
coroutines of any loop, wait for it to land. It lands exactly once, in every way that a
computation may end: with a value, with an exception, or given up, when the caller who
computed was cancelled or killed; then one of those who waited takes its place. A caller
who is interrupted before it can see to that lets go of the list of its flights (`Mine`)
all the same, and that lands them.

Who waits while it computes itself (`computing`, which the context of a thread or task
carries) may wait in a circle. So every flight knows for which others it waits, and a
wait that would close a circle raises DeadlockError instead. A thread that waits, and by
that holds up an event loop, has all computations on that loop wait with it. Work that
a computation gives to a thread without its context (`asyncio.to_thread` takes it along,
`run_in_executor` does not) is not known to belong to it.

The lock of a database's flights is held for no longer than a look into its dictionary;
nothing is called under it. It is one that a thread may take twice, because a garbage
collection may come at any time and let go of flights.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import deque
from concurrent.futures import Future, InvalidStateError
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from lsmkv.errors import DeadlockError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Place = tuple[int, bytes]  # number of the namespace, key

WORKERS_MAX = 4


class Landed(NamedTuple):
    """What a computation came to."""

    value: bytes
    stored: bool  # False: a put or delete came meanwhile


class Flight:
    """A computation that is going on.

    Attributes:
        place: Of what.
        loop: The event loop that computes, if one does.
        landed: Whether it has ended.
        settling: Whether its value is being read or stored, or has been: a write that
            comes after that may be over before it lands.
        waits: For which others it waits.
        future: What it comes to; None: it was given up.
    """

    __slots__ = ("future", "landed", "loop", "place", "settling", "waits")

    def __init__(self, place: Place, loop: Any) -> None:
        """Begin, on an event loop or, with None, anywhere else; nobody waits yet."""
        self.place = place
        self.loop = loop
        self.landed = False
        self.settling = False
        self.waits: set[Flight] = set()  # under the lock of the flights
        self.future: Future[Landed | None] = Future()
        self.future.set_running_or_notify_cancel()


class Mine(list[Flight]):
    """Flights that their caller has to land; those it does not are given up."""

    __slots__ = ("_flights",)

    def __init__(self, flights: Flights) -> None:
        """Begin with none of them."""
        self._flights = flights

    def __del__(self) -> None:
        """Land what is left."""
        i = 0
        while i < len(self):  # an iterator would want memory, which may be why we land
            if not self[i].landed:
                self._flights.land(self[i], None)
            i += 1


computing: ContextVar[tuple[Flight, ...]] = ContextVar("lsmkv_computing", default=())


def running_loop() -> Any:
    """Return the event loop that this thread runs, or None."""
    asyncio = sys.modules.get("asyncio")  # not imported: there is none
    return None if asyncio is None else asyncio._get_running_loop()


class Flights:
    """The flights of a database, and the threads that refresh values for it."""

    def __init__(self) -> None:
        """Start with none."""
        self.workers = Workers()
        self.tasks: set[Any] = set()  # refreshing; a loop refers to its tasks weakly
        self._lock = threading.RLock()
        self._flying: dict[Place, Flight] = {}
        self._held_up: dict[Any, set[Flight]] = {}  # by loop: what its thread waits for

    def begin(self, places: Iterable[Place], loop: Any = None) -> Mine:
        """Make a flight, the caller's to land, for each place that has none."""
        mine = Mine(self)
        with self._lock:
            mine.extend(
                Flight(place, loop) for place in places if place not in self._flying
            )
            self._flying.update((flight.place, flight) for flight in mine)
        return mine

    def join(
        self, places: Iterable[Place], *, blocks: bool
    ) -> tuple[Mine, list[Flight]]:
        """Make flights, the caller's to land, and find the others, to be waited for.

        Whoever waits has to call `leave` afterwards. `blocks`: the wait holds up the
        thread, and the event loop in it if there is one.

        Raises:
            DeadlockError: The wait would never end.
        """
        mine = Mine(self)
        others: list[Flight] = []
        stack = [each for each in computing.get() if not each.landed]
        loop = running_loop()
        held_up = loop if blocks else None
        with self._lock:
            for place in places:
                flight = self._flying.get(place)
                if flight is None:
                    mine.append(Flight(place, None if blocks else loop))
                elif self._closes_circle(flight, stack, held_up):
                    raise DeadlockError(
                        f"the value of {place[1]!r} is computed from itself, or on the "
                        f"event loop that would wait for it"
                    )
                else:
                    others.append(flight)
            for each in stack:
                each.waits.update(others)
            if held_up is not None and others:
                self._held_up.setdefault(held_up, set()).update(others)
            self._flying.update((flight.place, flight) for flight in mine)
        return mine, others

    def _closes_circle(self, flight: Flight, stack: list[Flight], loop: Any) -> bool:
        """Tell whether it waits, directly or not, for who is about to wait for it."""
        if not stack and loop is None:
            return False
        seen, ahead = {flight}, [flight]
        while ahead:
            each = ahead.pop()
            if each in stack or (loop is not None and each.loop is loop):
                return True
            waits = each.waits | self._held_up.get(each.loop, set())
            ahead.extend(other for other in waits - seen if not other.landed)
            seen |= waits
        return False

    def leave(self, flight: Flight) -> None:
        """End a wait."""
        stack = computing.get()
        loop = running_loop() if self._held_up else None
        if stack or loop is not None:
            with self._lock:
                for each in stack:
                    each.waits.discard(flight)
                held_up = self._held_up.get(loop)
                if held_up is not None:
                    held_up.discard(flight)
                    if not held_up:
                        del self._held_up[loop]

    def land(self, flight: Flight, outcome: Landed | BaseException | None) -> None:
        """End a flight, unless it has landed, and wake all who wait for it."""
        if flight.landed:
            return
        with self._lock:
            if self._flying.get(flight.place) is flight:
                del self._flying[flight.place]
        if isinstance(outcome, StopIteration):  # which no coroutine can be given
            outcome = RuntimeError(f"computing raised {outcome!r}")
        with contextlib.suppress(InvalidStateError):  # another was first
            if isinstance(outcome, Exception):
                flight.future.set_exception(outcome)
            else:  # what is no Exception ends this thread or task and none else
                flight.future.set_result(outcome if type(outcome) is Landed else None)
        flight.landed = True


class Workers:
    """A few threads, which come with work and go without."""

    def __init__(self) -> None:
        """Start without a thread."""
        self._lock = threading.Lock()
        self._jobs: deque[Callable[[], object]] = deque()
        self._count = 0

    def submit(self, job: Callable[[], object]) -> None:
        """Run a job, which raises nothing, some time soon.

        RuntimeError: No thread could be started, and the job will not run.
        """
        with self._lock:
            starts = self._count < WORKERS_MAX
            self._jobs.append(job)
            self._count += starts
        if starts:
            try:
                start_thread(self._run)
            except BaseException:
                with self._lock:
                    self._count -= 1
                    if job in self._jobs:
                        self._jobs.remove(job)
                        raise

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._jobs:
                    self._count -= 1
                    return
                job = self._jobs.popleft()
            job()
            del job  # what it refers to may be waiting for it to go


def start_thread(run: Callable[[], object]) -> None:
    """Start a thread that does not hold up the end of the process."""
    threading.Thread(target=run, name="lsmkv-compute", daemon=True).start()
