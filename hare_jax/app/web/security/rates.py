"""A bound on the rate of requests, by token buckets."""

import time
from collections import OrderedDict
from collections.abc import Callable

_MOST_NAMES = 4096


class Rates:
    """Each name may make `burst` requests at once, and `per_second` in the long run; old names are forgotten.

    >>> rates = Rates(1.0, 2, clock=iter([0.0, 0.0, 0.0, 1.0]).__next__)
    >>> [rates.allows("someone") for _ in range(4)]
    [True, True, False, True]
    """

    def __init__(self, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()  # name -> requests left, at a time

    def allows(self, name: str) -> bool:
        """Count a request, and whether it is within the bound."""
        now = self._clock()
        left, then = self._buckets.pop(name, (float(self._burst), now))
        left = min(float(self._burst), left + (now - then) * self._per_second)
        allowed = left >= 1
        self._buckets[name] = (left - allowed, now)
        if len(self._buckets) > _MOST_NAMES:
            self._buckets.popitem(last=False)
        return allowed
