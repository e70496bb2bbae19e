"""The SQLite file of a study: connections, transactions, its schema and version, and errors that say what happened.

A transaction is on the disk when it ends: WAL with `synchronous = FULL`. A file has one version of the schema, and
another version is an error.
"""

import contextlib
import os
import queue
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from hare_jax.base import require

VERSION = 7  # of the schema
APPLICATION = 0x68_61_72_65  # "hare": marks the file
TIMEOUT = 2.0  # seconds to wait for another process that writes
_PRAGMAS = ("foreign_keys = ON", "synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY")

_SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE people (
    number INTEGER PRIMARY KEY, -- from 0, in the order of consent
    token_hash BLOB NOT NULL UNIQUE,
    arm TEXT NOT NULL,
    consented_at REAL NOT NULL, -- all times are seconds since 1970, UTC
    withdrawn_at REAL,
    row TEXT, -- JSON: the row in original units
    session TEXT -- JSON of `Session.to_json`, after the last answer
);
CREATE TABLE steps ( -- the pages that are done
    person INTEGER NOT NULL REFERENCES people (number),
    name TEXT NOT NULL,
    at REAL NOT NULL,
    PRIMARY KEY (person, name)
) WITHOUT ROWID;
CREATE TABLE answers (
    person INTEGER NOT NULL REFERENCES people (number),
    number INTEGER NOT NULL, -- from 1
    repeats INTEGER, -- the number of the question that this one repeats
    choice TEXT NOT NULL, -- the label of an option as shown, or can't tell
    shown TEXT NOT NULL, -- JSON: the question as shown
    seconds REAL NOT NULL, -- from the page to the answer
    at REAL NOT NULL,
    PRIMARY KEY (person, number)
) WITHOUT ROWID;
CREATE TABLE items (
    person INTEGER NOT NULL REFERENCES people (number),
    part TEXT NOT NULL CHECK (part IN ('before', 'after')),
    name TEXT NOT NULL,
    value TEXT NOT NULL, -- JSON
    PRIMARY KEY (person, part, name)
) WITHOUT ROWID;
CREATE TABLE outcomes (
    person INTEGER PRIMARY KEY REFERENCES people (number),
    recommendation TEXT NOT NULL, -- JSON of an option
    base TEXT NOT NULL,
    same INTEGER NOT NULL, -- the two are equal in original units
    base_first INTEGER NOT NULL, -- when they are rated
    point INTEGER -- of the scale, from 1 for the first of the two
);
"""


class UnavailableError(OSError):
    """The file could not be read or written now: nothing of the transaction is stored."""


class AlreadyStoredError(Exception):
    """The answer, or the page, is stored already: nothing of the transaction is."""


class Database:
    """The file of a study. Every thread may use it."""

    def __init__(self, path: str | Path, *, create: bool = False) -> None:
        self.path = Path(path)
        require(self.path.parent.is_dir(), "db", "must be in a folder that exists", str(path))
        require(create or self.path.is_file(), "db", "must be a file of `hare-jax study run`", str(path))
        require(not self.path.is_dir(), "db", "must be a file", str(path))
        if create:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # only for its owner
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        try:
            self._open(create)
        except sqlite3.DatabaseError as error:
            raise ValueError(f"db: must be a file of `hare-jax study run`; got {str(path)!r}, {error}") from error
        except ValueError:
            self.close()
            raise

    def _open(self, create: bool) -> None:
        """Check the file, and write the schema into an empty one."""
        with self._connection() as connection:
            (application,), (version,) = (
                connection.execute(f"PRAGMA {name}").fetchone() for name in ("application_id", "user_version")
            )
            tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
            if create and (application, version, tables) == (0, 0, 0):
                connection.execute("PRAGMA journal_mode = WAL")
                pragmas = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION};"
                connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} {pragmas} COMMIT;")
                return
        require(application == APPLICATION, "db", "must be a file of `hare-jax study run`", str(self.path))
        rule = f"must have version {VERSION} of the schema: use the hare_jax that wrote it"
        require(version == VERSION, "db", rule, version)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes: all of it is on the disk afterwards, or nothing.

        Raises:
            UnavailableError: the disk is full, the file is locked, or cannot be written.
            AlreadyStoredError: a row is there already.
        """
        with self._translated(), self._connection() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A transaction that only reads; it waits for nobody.

        Raises:
            UnavailableError: the file cannot be read.
        """
        with self._translated(), self._connection() as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise AlreadyStoredError(str(error)) from error
        except sqlite3.DatabaseError as error:
            raise UnavailableError(str(error)) from error

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """A connection for one transaction; one that fails is rolled back and closed."""
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            connection = self._connect()
        try:
            yield connection
        except BaseException:
            connection.close()  # rolls back
            raise
        self._idle.put(connection)

    def _connect(self) -> sqlite3.Connection:
        """A new connection; transactions are begun and ended by hand."""
        connection = sqlite3.connect(self.path, timeout=TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            for pragma in _PRAGMAS:
                connection.execute(f"PRAGMA {pragma}")
        except sqlite3.DatabaseError:
            connection.close()
            raise
        return connection

    def purge(self) -> None:
        """Write the file anew, and empty its log, so that nothing is left of what was deleted.

        `secure_delete` is not enough: where SQLite moves rows to another page, it leaves a copy of them in the old one.
        If the file is in use, this is left to the next call.
        """
        with contextlib.suppress(UnavailableError), self._translated(), self._connection() as connection:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the connections that are not in use."""
        while not self._idle.empty():
            self._idle.get_nowait().close()
