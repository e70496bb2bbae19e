"""The pieces of a grid that are not done, and who gets which: each worker stays in its group while it can."""

from collections import Counter, deque
from collections.abc import Hashable, Iterable

from benchmarks.experiments.grid import Piece

_FEWEST_EACH = 8  # pieces left per worker of a group that are worth preparing the group once more


class Todo:
    """The pieces left, by group and program, and the last piece of each worker."""

    def __init__(self, pieces: Iterable[Piece]) -> None:
        """All `pieces` are left, in this order."""
        self._left: dict[Hashable, dict[Hashable, deque[Piece]]] = {}
        self._last: dict[str, Piece] = {}
        for piece in pieces:
            self._of(piece).append(piece)

    def __len__(self) -> int:
        return sum(map(self._size, self._left))

    def take(self, worker: str) -> Piece | None:
        """The next piece of a worker, if there is one that is worth its preparation.

        It is of the worker's last group and program where these have pieces left, otherwise of what the fewest other
        workers are at.
        """
        last = self._last.pop(worker, None)
        group = self._group(last)
        if group is None:
            return None
        programs = self._left[group]
        own = last is not None and last.group == group and last.program in programs
        piece = programs[last.program if own else self._program(group)].popleft()  # type: ignore[union-attr]
        self._last[worker] = piece
        self._drop_empty(piece)
        return piece

    def put_back(self, worker: str, piece: Piece) -> None:
        """The `worker` has ended before its `piece` was done, which is the next of its program."""
        self.forget(worker)
        self._of(piece).appendleft(piece)

    def forget(self, worker: str) -> None:
        """The `worker` has ended."""
        self._last.pop(worker, None)

    def _of(self, piece: Piece) -> deque[Piece]:
        return self._left.setdefault(piece.group, {}).setdefault(piece.program, deque())

    def _drop_empty(self, piece: Piece) -> None:
        if not self._of(piece):
            del self._left[piece.group][piece.program]
        if not self._left[piece.group]:
            del self._left[piece.group]

    def _size(self, group: Hashable) -> int:
        return sum(map(len, self._left[group].values()))

    def _group(self, last: Piece | None) -> Hashable | None:
        """The group of the `last` piece, or the largest without a worker, or the one with the most pieces a worker."""
        if last is not None and last.group in self._left:
            return last.group
        workers = Counter(piece.group for piece in self._last.values())
        if free := [group for group in self._left if not workers[group]]:
            return max(free, key=self._size)
        shared = {group: self._size(group) / workers[group] for group in self._left}
        best = max(shared, key=shared.__getitem__, default=None)
        return best if best is not None and shared[best] >= _FEWEST_EACH else None

    def _program(self, group: Hashable) -> Hashable:
        """The first program without a worker, or the one with the most pieces a worker."""
        workers = Counter(piece.program for piece in self._last.values() if piece.group == group)
        programs = self._left[group]
        free = [program for program in programs if not workers[program]]
        return free[0] if free else max(programs, key=lambda program: len(programs[program]) / workers[program])
