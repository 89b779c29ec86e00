"""The providers, played by us over HTTP on loopback, for rehearsals, the demo, tests and load.

Strict about requests, as the providers' documents are written; deterministic by seed. Magic
numbers, by their last eight digits (any country code and prefix), choose what becomes of a message:

    …55500001  Delivered
    …55500002  UnDelivered
    …55500003  Expired
    …55500004  stays Sent (or Enroute): never a final receipt
    …55500005  accepted, but missing from the answer to the submission

Everything else comes out by the shares of `ReceiptPlan`. `/_sim/` (see `control`) switches faults
on and tells what arrived; `families/` has one file per kind of provider.
"""

from dispatcher.simulator.receipts import ReceiptPlan
from dispatcher.simulator.server import Simulator

__all__ = ["ReceiptPlan", "Simulator"]
