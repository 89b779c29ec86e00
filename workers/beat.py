"""Beat's scheduler: Celery's, in memory, and a sign of life with each of its passes."""

from celery.beat import Scheduler

from dispatcher.local.life_signs import get_life_signs


class LiveScheduler(Scheduler):
    """Keeps no file, and shows its supervisor that it still looks at its schedule."""

    def tick(self) -> float:
        """Publish what is due. Returns the seconds until the next pass."""
        pause_s = super().tick()
        get_life_signs().send_alive()
        return pause_s
