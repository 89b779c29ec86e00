"""How fast messages are submitted, also where they leave in large requests far apart."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

#: The rate is the average over the requests of this many seconds, and over two of them at least.
_OVER_S: Final = 10.0
#: A rate of requests that stopped counts for this many times their interval.
_PATIENCE: Final = 3.0


class SubmissionPace:
    """How fast messages are submitted, and how long the rest takes at this rate.

    Messages leave in steps: a request of 2,000 at 200 a second, then nothing for ten seconds. So
    the rate is measured from step to step, not from look to look.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        #: When a step was seen, and how many were submitted then.
        self._steps: deque[tuple[float, int]] = deque()
        self._looked_at = 0.0

    def add_observation(self, submitted: int) -> None:
        """Add the number of messages that are submitted by now."""
        now = self._looked_at = self._clock()
        if not self._steps or submitted != self._steps[-1][1]:
            self._steps.append((now, submitted))
        while len(self._steps) > 3 and now - self._steps[1][0] > _OVER_S:
            self._steps.popleft()

    @property
    def is_measured(self) -> bool:
        """Whether enough was seen to say how fast it goes."""
        return len(self._steps) > 2 or (
            bool(self._steps) and self._looked_at - self._steps[0][0] >= _OVER_S
        )

    @property
    def per_second(self) -> float:
        """Messages per second; 0 before the first step, and some time after the last one."""
        if len(self._steps) < 2:
            return 0.0
        (began, first), (ended, last) = self._steps[0], self._steps[-1]
        steps = len(self._steps) - 1
        interval_s = (ended - began) / steps
        silent_s = self._looked_at - ended
        if steps == 1:
            # How long before the first look the request before this one left is not known.
            seen_s = self._looked_at - began
            return (last - first) / seen_s if self.is_measured else 0.0
        if silent_s > max(_OVER_S, _PATIENCE * interval_s):
            return 0.0
        return max(0.0, (last - first) / max(ended - began, 1e-9))

    def remaining_s(self, remaining: int) -> float | None:
        """Seconds for the rest; None while nothing is submitted."""
        return remaining / self.per_second if self.per_second > 0 else None
