"""Bulk-SMS campaign dispatcher: what a campaign is, and everything but the Celery processes.

Programs use `dispatcher.submit(…)` and `dispatcher.show(…)`, which are loaded when first used.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dispatcher.programs import CampaignStatus, SubmittedCampaign, show, submit

__version__ = "0.1.0"
__all__ = ["CampaignStatus", "SubmittedCampaign", "__version__", "show", "submit"]


def __getattr__(name: str) -> object:
    if name in __all__:
        from dispatcher import programs

        return getattr(programs, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
