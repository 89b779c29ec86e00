"""Simulates the providers over HTTP on loopback, for rehearsals, the demo, tests and load.

It is as strict about requests as the providers' documents are written, and deterministic by seed.
The last eight digits of a number (with any country code and prefix) choose what becomes of its
message:

    …55500001  Delivered
    …55500002  UnDelivered
    …55500003  Expired
    …55500004  stays Sent (or Enroute): never a final receipt
    …55500005  accepted, but missing from the answer to the submission

All other numbers get receipts in the shares of `ReceiptPlan`. `/_sim/` (see `control`) switches
faults on and shows what arrived; `families/` has one file for each kind of provider.
"""

from dispatcher.simulator.receipts import ReceiptPlan
from dispatcher.simulator.server import Simulator

__all__ = ["ReceiptPlan", "Simulator"]
