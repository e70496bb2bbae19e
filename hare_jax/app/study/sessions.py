"""The sessions of the people who are answering now, in memory; each can be loaded again from what is stored."""

import collections
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pandas as pd

from hare_jax.app.session import Session
from hare_jax.app.study import setting as settings
from hare_jax.app.study.design import Study
from hare_jax.app.study.setting import Setting
from hare_jax.app.study.store import Record, Store
from hare_jax.base import require

_MOST = 200  # sessions in memory


class Sessions:
    """Sessions by the number of their person; what is stored decides, and a session that differs is loaded again."""

    def __init__(self, study: Study, setting: Setting, store: Store) -> None:
        self.study, self.setting, self._store = study, setting, store
        self._lock = threading.Lock()
        self._locks: dict[int, threading.Lock] = {}
        self._live: collections.OrderedDict[int, Session] = collections.OrderedDict()
        self.rows = pd.DataFrame()  # that people are assigned
        self.progress = 0.0, "reading the data"
        self.failed: str | None = None  # why the preparation ended
        self._ready = threading.Event()

    @property
    def ready(self) -> bool:
        """Whether the programs are compiled."""
        return self._ready.is_set()

    def prepare(self) -> None:
        """Find the rows, and compile the programs of all arms."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UserWarning)
                self._told(0.0, "looking for applications")
                self.rows = settings.refused_rows(self.study, self.setting)
            if len(self.rows):
                settings.warm(self.study, self.setting, self.rows, self._told)
            self._ready.set()
        except Exception as error:  # shown on the page and in the terminal
            self.failed = f"{type(error).__name__}: {error}"
            raise

    def _told(self, share: float, stage: str) -> None:
        self.progress = share, stage

    @contextmanager
    def of(self, number: int) -> Iterator[None]:
        """One request of a person at a time."""
        with self._lock:
            lock = self._locks.setdefault(number, threading.Lock())
        with lock:
            yield

    def get(self, record: Record) -> Session:
        """The session of a person, as it is stored."""
        with self._lock:
            found = self._live.get(record.number)
            if found is not None:
                self._live.move_to_end(record.number)
        if found is None or found.num_answers != record.num_told:
            text = self._store.session(record.number)
            require(text is not None, "db", "must have the session of a person who answers", record.number)
            arm = self.study.arm(record.arm)
            found = Session.from_json(text, self.setting.explainers[arm.base])  # type: ignore[arg-type]
            self.keep(record.number, found)
        return found

    def is_live(self, number: int) -> bool:
        """Whether the session of a person is in memory."""
        with self._lock:
            return number in self._live

    def keep(self, number: int, session: Session) -> None:
        """Keep a session in memory, in place of the one that was used least recently."""
        with self._lock:
            self._live[number] = session
            self._live.move_to_end(number)
            while len(self._live) > _MOST:
                self._live.popitem(last=False)

    def drop(self, number: int) -> None:
        """Forget a session that is ahead of what is stored."""
        with self._lock:
            self._live.pop(number, None)
