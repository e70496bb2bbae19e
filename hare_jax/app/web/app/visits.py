"""Where the sessions of a web page are kept: in memory, by the digest of their link, as many as are allowed."""

import asyncio
from collections import OrderedDict
from typing import NamedTuple

from hare_jax.app.web.app.talk import Talk
from hare_jax.app.web.security import digest, new_link

_MOST_TICKETS = 4096


class Taken(NamedTuple):
    """The last form that was taken: sent again, it leads to the same page."""

    step: int
    action: str
    fields: frozenset[tuple[str, str]]
    following: str


class Visit:
    """A session with its link."""

    def __init__(self, link: str, talk: Talk) -> None:
        self.link, self.talk = link, talk
        self.lock = asyncio.Lock()
        self.step = 0  # forms that were taken
        self.taken: Taken | None = None
        self.progress = (0.0, "Your details are read.")
        self.problem = ""  # why there is no first question
        self.opening: asyncio.Task[None] | None = None

    @property
    def is_opening(self) -> bool:
        """Whether its first question is still prepared."""
        return self.opening is not None and not self.opening.done()

    def drop(self) -> None:
        """Prepare it no longer, if that has not begun."""
        if self.opening is not None:
            self.opening.cancel()


class Visits:
    """The sessions; the one that was unused for longest is dropped for a new one."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._visits: OrderedDict[str, Visit] = OrderedDict()
        self._tickets: OrderedDict[str, str] = OrderedDict()  # of a start form, with the link of its session

    def __len__(self) -> int:
        return len(self._visits)

    def add(self, talk: Talk, ticket: str) -> Visit:
        """Keep a new session, started by the form with a `ticket`."""
        visit = Visit(new_link(), talk)
        self._visits[digest(visit.link)] = visit
        self._tickets[ticket] = visit.link
        if len(self._visits) > self._most:
            self._visits.popitem(last=False)[1].drop()
        if len(self._tickets) > _MOST_TICKETS:
            self._tickets.popitem(last=False)
        return visit

    def num_opening(self) -> int:
        """How many sessions wait for their first question."""
        return sum(visit.is_opening for visit in self._visits.values())

    def get(self, link: str) -> Visit | None:
        """The session of a link, which is thereby used."""
        visit = self._visits.get(digest(link))
        if visit is not None:
            self._visits.move_to_end(digest(link))
        return visit

    def started(self, ticket: str) -> str | None:
        """The link of the session that a start form began."""
        return self._tickets.get(ticket)

    def remove(self, visit: Visit) -> None:
        """Forget a session."""
        self._visits.pop(digest(visit.link), None)
        visit.drop()
