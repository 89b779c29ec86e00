"""Counts of what arrived at the simulator. Their size is bounded, whatever arrives."""

from collections import Counter, deque
from typing import Final

_ARRIVALS: Final = 10_000
_PATHS: Final = 200
_REASONS: Final = 200


class Stats:
    """The counts of one run; families add to `counts` what they find."""

    def __init__(self) -> None:
        self._arrivals: dict[str, deque[tuple[float, float]]] = {}
        self._requests: Counter[str] = Counter()
        self._reasons: deque[dict[str, str]] = deque(maxlen=_REASONS)
        self.counts: Counter[str] = Counter(
            malformed=0,
            cut_short=0,
            unauthorized=0,
            flag_mismatches=0,
            needless_unicode=0,
            truncated_texts=0,
            channel_mismatches=0,
            get_requests=0,
            accepted_requests=0,
        )
        self.faults: Counter[str] = Counter()
        self.max_connections = 0
        self._peers: set[str] = set()
        self.max_requests_at_once = 0

    def count_arrival(self, path: str, monotonic: float, wall: float) -> None:
        """Count a request, at the moment when its headers were read."""
        if path not in self._arrivals:
            if len(self._arrivals) >= _PATHS:
                path = f"/{path.split('/')[1]}/other"
            if len(self._arrivals) >= 2 * _PATHS:
                path = "other"
            self._arrivals.setdefault(path, deque(maxlen=_ARRIVALS))
        self._requests[path] += 1
        self._arrivals[path].append((monotonic, wall))

    def count_connection(self, peer: str, at_once: int) -> None:
        """Count the connection (`peer`) of a request, and how many are open now (`at_once`)."""
        self._peers.add(peer)
        self.max_connections = max(self.max_connections, at_once)

    def count_malformed(self, provider: str, path: str, reason: str) -> None:
        """Count a request that breaks the provider's document, and keep the reason."""
        self.counts["malformed"] += 1
        self._reasons.append({"provider": provider, "path": path, "reason": reason})

    def as_dict(self) -> dict[str, object]:
        """The counts, and the last arrivals as pairs of CLOCK_MONOTONIC and Unix time."""
        return {
            **self.counts,
            "malformed_reasons": list(self._reasons),
            "connections": len(self._peers),
            "max_connections": self.max_connections,
            "max_requests_at_once": self.max_requests_at_once,
            "faults": dict(self.faults),
            "requests": {
                path: {"count": self._requests[path], "arrivals": list(arrivals)}
                for path, arrivals in self._arrivals.items()
            },
        }
