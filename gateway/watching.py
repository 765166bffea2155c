"""Output for those who watch it being written: one look at the database for all of them, ten times a second.

However many watch an attempt, a look is a statement for the states of all attempts that are watched, and one
for the output that somebody lacks. Whoever does not take what was sent gets nothing more until they do.
"""

import asyncio
import logging
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

import msgspec
from django.db import DatabaseError, InterfaceError, connection

from agents.protocol import version
from gateway.browsers import Visit, ended_visits
from gateway.workers import RETRY_AFTER_SECS, in_database_thread, wait_for_event
from scheduling.services.output import TAIL_SECS
from scheduling.services.viewing import Page, Place, read_pages

logger = logging.getLogger(__name__)

LOOK_EVERY_SECS: Final = 0.1
# What this very server stores is shown at once, but no look follows on the last one sooner than this.
LOOK_AFTER_SECS: Final = 0.02
PAGE_BYTES: Final = 64 * 1024
# Of different places at once; each look goes on where the last one ended.
MAX_PAGES: Final = 16
CLOSE_DONE: Final = 1000
# So much may be on its way to a viewer, in its own memory and in that of everything between.
WINDOW_BYTES: Final = 256 * 1024
WINDOW_MESSAGES: Final = 32
# Whoever logged out, or lost the permission, is shown nothing more after so long.
CHECK_EVERY_SECS: Final = 5.0

_STATES: Final = """
SELECT i.id, i.status, i.stdout_bytes, i.stderr_bytes, i.cancel_requested_at IS NOT NULL,
       (SELECT max(line.id) FROM gateway_agentlog line WHERE line.instance_id = i.id),
       i.completed_at IS NOT NULL
           AND (i.by_hand OR i.completed_at < clock_timestamp() - make_interval(secs => %(tail_secs)s))
FROM scheduling_taskinstance i WHERE i.id = ANY(%(ids)s::uuid[])
"""

T = TypeVar("T")
_encode: Final = msgspec.json.Encoder().encode
# A thread of its own: whoever looks holds up no agent, and the slowest look holds up lookers alone.
_executor: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="gateway-view")


@dataclass(frozen=True, slots=True)
class State:
    """How an attempt stands; `log_id` is the newest line of the agent's log about it."""

    status: str
    end: Place
    is_cancelled: bool
    log_id: int | None
    is_settled: bool

    def is_beyond(self, place: Place) -> bool:
        """Whether there is output behind a place."""
        return place.stdout < self.end.stdout or place.stderr < self.end.stderr

    def as_json(self) -> dict[str, Any]:
        """Return it as browsers get it."""
        return {
            "status": self.status,
            "end": self.end.as_json(),
            "is_cancelled": self.is_cancelled,
            "log": self.log_id,
            "is_settled": self.is_settled,
        }


@dataclass(eq=False, slots=True)
class Viewer:
    """Somebody who watches an attempt, from `place` on; without one they want to hear of its state alone."""

    visit: Visit
    send_text: Callable[[str], Awaitable[None]]
    close: Callable[[int], Awaitable[None]]
    place: Place | None = None
    # Before they said where they are, nobody can tell that they have all.
    has_spoken: bool = False
    _told: State | None = None
    # The bytes of output in each message that is on its way.
    _on_its_way: deque[int] = field(default_factory=deque)
    _bytes_on_their_way: int = 0

    @property
    def instance_id(self) -> uuid.UUID:
        """The attempt that is watched."""
        return self.visit.instance_id

    @property
    def has_room(self) -> bool:
        """Whether more may be sent."""
        return (
            len(self._on_its_way) < WINDOW_MESSAGES and self._bytes_on_their_way <= WINDOW_BYTES - PAGE_BYTES
        )

    def note_taken(self, messages: int) -> bool:
        """Note that the viewer took so many more messages; False where there were not so many."""
        if messages > len(self._on_its_way):
            return False
        for _ in range(messages):
            self._bytes_on_their_way -= self._on_its_way.popleft()
        return True

    async def tell(self, state: State | None) -> None:
        """Say how the attempt stands, where that is new, and go when there is nothing more to come."""
        if state is None:
            await self.close(CLOSE_DONE)
            return
        is_behind = self.place is not None and state.is_beyond(self.place)
        # Whoever gets the output itself knows how much there is.
        news = state if self.place is None else replace(state, end=Place())
        if news != self._told and self.has_room:
            self._told = news
            await self.send(_text({"state": state.as_json()}))
        if state.is_settled and self.has_spoken and not is_behind and news == self._told:
            await self.close(CLOSE_DONE)

    async def send(self, text: str, *, size: int = 0) -> None:
        """Send a message that holds so many bytes of output."""
        self._on_its_way.append(size)
        self._bytes_on_their_way += size
        await self.send_text(text)


async def in_viewing_thread(work: Callable[[], T]) -> T:
    """Run `work` on the thread of those who look, which keeps no connection of the pool for itself."""

    def call() -> T:
        try:
            return work()
        finally:
            if "pool" in connection.settings_dict["OPTIONS"]:
                connection.close()

    return await in_database_thread(call, executor=_executor)


class Watch:
    """All who watch attempts on this server. Everything here runs on the event loop."""

    def __init__(self) -> None:
        self.viewers: dict[uuid.UUID, set[Viewer]] = defaultdict(set)
        self._wake = asyncio.Event()
        self._turns: deque[tuple[uuid.UUID, Place]] = deque()

    def join(self, viewer: Viewer) -> None:
        """Let somebody watch."""
        self.viewers[viewer.instance_id].add(viewer)
        self._wake.set()

    def leave(self, viewer: Viewer) -> None:
        """Forget somebody who watched."""
        watching = self.viewers.get(viewer.instance_id, set())
        watching.discard(viewer)
        if not watching:
            self.viewers.pop(viewer.instance_id, None)

    def all_viewers(self) -> list[Viewer]:
        """Return everybody who watches anything."""
        return [viewer for watching in self.viewers.values() for viewer in watching]

    def count_of(self, user_id: int) -> int:
        """Return how often a user watches something here."""
        return sum(viewer.visit.user_id == user_id for viewer in self.all_viewers())

    def wake(self) -> None:
        """Look soon: somebody wants more, or is somewhere else."""
        self._wake.set()

    def note(self, instance_ids: Iterable[uuid.UUID]) -> None:
        """Look soon if one of these, of which something was stored, is watched."""
        if self.viewers and not self.viewers.keys().isdisjoint(instance_ids):
            self._wake.set()

    async def run(self) -> None:
        """Look for ever, as long as somebody watches."""
        is_away = False
        while True:
            await wait_for_event(self._wake, LOOK_EVERY_SECS) if self.viewers else await self._wake.wait()
            self._wake.clear()
            try:
                while await self.look():
                    pass
                is_away = False
            except (DatabaseError, InterfaceError) as error:
                if not is_away:
                    logger.warning("database away while output is watched: %s", error)
                is_away = True
                await asyncio.sleep(RETRY_AFTER_SECS)
            await asyncio.sleep(LOOK_AFTER_SECS)

    async def check(self) -> None:
        """Look for ever whether those who watch still may; send away who does not."""
        while True:
            await asyncio.sleep(CHECK_EVERY_SECS)
            visits = {viewer.visit for viewer in self.all_viewers()}
            if not visits:
                continue
            try:
                ended = await in_viewing_thread(lambda visits=visits: ended_visits(visits))  # type: ignore[misc]
            except (DatabaseError, InterfaceError) as error:
                logger.warning("database away while those who watch are looked after: %s", error)
                continue
            for viewer in self.all_viewers():
                if viewer.visit in ended:
                    await viewer.close(version.CLOSE_POLICY)

    async def close_all(self) -> None:
        """Send everybody away; they come back to this or another server."""
        for viewer in self.all_viewers():
            await viewer.close(version.CLOSE_RESTART)

    async def look(self) -> bool:
        """Tell everybody what is new to them; return whether there is more for somebody who takes it."""
        if not self.viewers:
            return False
        watched = list(self.viewers)
        states = await in_viewing_thread(lambda: read_states(watched))
        wanted = self._next_turns(states)
        if wanted:
            pages = await in_viewing_thread(lambda: read_pages(wanted, limit=PAGE_BYTES))
            for (instance_id, _place), page in zip(wanted, pages, strict=True):
                await self._send_page(instance_id, page, states[instance_id])
        for instance_id in watched:
            for viewer in list(self.viewers.get(instance_id, ())):
                await viewer.tell(states.get(instance_id))
        return bool(self._lacking(states))

    def _lacking(self, states: dict[uuid.UUID, State]) -> dict[tuple[uuid.UUID, Place], None]:
        """Return from which places output is lacking, of those who would take it."""
        return {
            (instance_id, viewer.place): None
            for instance_id, state in states.items()
            for viewer in self.viewers.get(instance_id, ())
            if viewer.place is not None and viewer.has_room and state.is_beyond(viewer.place)
        }

    def _next_turns(self, states: dict[uuid.UUID, State]) -> list[tuple[uuid.UUID, Place]]:
        """Return whose turn it is, MAX_PAGES at a time; those who wait longest come first."""
        lacking = self._lacking(states)
        waiting = [turn for turn in self._turns if turn in lacking]
        waiting += [turn for turn in lacking if turn not in set(waiting)]
        self._turns = deque(waiting[MAX_PAGES:])
        return waiting[:MAX_PAGES]

    async def _send_page(self, instance_id: uuid.UUID, page: Page, state: State) -> None:
        # Where nothing is found although something was stored, somebody has deleted it.
        end = page.end if page.parts else state.end
        text, size = _text({"output": [part.as_json() for part in page.parts]}), end.total - page.begin.total
        for viewer in list(self.viewers.get(instance_id, ())):
            if viewer.place == page.begin and viewer.has_room:
                viewer.place = end
                if page.parts:
                    await viewer.send(text, size=size)


def read_states(instance_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, State]:
    """Return how these attempts stand, those that there are. One statement."""
    with connection.cursor() as cursor:
        cursor.execute(_STATES, {"ids": list(instance_ids), "tail_secs": TAIL_SECS})
        return {
            instance_id: State(
                status=status,
                end=Place(stdout=stdout, stderr=stderr),
                is_cancelled=is_cancelled,
                log_id=log_id,
                is_settled=is_settled,
            )
            for instance_id, status, stdout, stderr, is_cancelled, log_id, is_settled in cursor.fetchall()
        }


def _text(message: dict[str, Any]) -> str:
    return _encode(message).decode()
