"""A lean TheSMSPoint for benchmarks: its documented JSON from a process that does little else.

    python -m tests.benchmarks.bulk_provider [--receipts-s 1]

Half of a job's messages are final after half of `--receipts-s`, the others after all of it; one in
twenty is undelivered. `GET /stats` says how many numbers were accepted, how many of them twice, and
when the last one was. A line with the port says that it is ready.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, field

import orjson
import uvloop
from aiohttp import web

_MAX_BODY = 4 * 1024 * 1024
_UNDELIVERED_EVERY = 20


@dataclass(slots=True)
class _Job:
    at: float
    first_id: int
    entries: list[dict[str, str]]
    #: The answers to a poll while nothing, a half and everything is final.
    shown: dict[int, bytes] = field(default_factory=dict)


class LeanProvider:
    """The three calls that a campaign makes, and what was asked of them."""

    def __init__(self, receipts_s: float) -> None:
        self._receipts_s = receipts_s
        self._jobs: list[_Job] = []
        self._numbers: set[int] = set()
        self._accepted = self._polls = 0
        self._last_at = 0.0

    def app(self) -> web.Application:
        """The server."""
        app = web.Application(client_max_size=_MAX_BODY)
        app.router.add_post("/send-bulk-sms", self._submit)
        app.router.add_post("/sms-delivery-status", self._show_status)
        app.router.add_post("/{command}", self._look_up)
        app.router.add_get("/stats", self._show_stats)
        return app

    async def _submit(self, request: web.Request) -> web.Response:
        entries = orjson.loads(orjson.loads(await request.read())["recipient"])
        first_id = 10_000_000_000 + self._accepted
        self._accepted += len(entries)
        self._numbers.update([int(each["number"]) for each in entries])
        self._jobs.append(_Job(time.monotonic(), first_id, entries))
        self._last_at = time.time()
        data = {
            "ErrorCode": "000",
            "ErrorMessage": "Success",
            "JobId": str(100_000_000 + len(self._jobs) - 1),
            "MessageData": [
                {"Number": each["number"], "message_id": str(n), "message": each["text"]}
                for n, each in enumerate(entries, first_id)
            ],
        }
        return _answer({"status": "success", "message": "SMS Sent", "data": data, "code": 200})

    async def _show_status(self, request: web.Request) -> web.Response:
        self._polls += 1
        job_id = orjson.loads(await request.read())["job_id"]
        job = self._jobs[int(job_id) - 100_000_000]
        age = time.monotonic() - job.at
        stage = min(2, int(2 * age / self._receipts_s)) if self._receipts_s else 2
        if stage not in job.shown:
            data = [
                {
                    "status_name": _word(n, stage),
                    "mobile_number": each["number"],
                    "content": each["text"],
                    "message_id": str(job.first_id + n),
                }
                for n, each in enumerate(job.entries)
            ]
            job.shown[stage] = orjson.dumps(
                {"status": "success", "job_id": job_id, "data": data, "code": "200"}
            )
        body = job.shown[stage]
        if stage == 2:
            job.shown.clear()
        return web.Response(body=body, content_type="application/json")

    async def _look_up(self, request: web.Request) -> web.Response:
        sender = {
            "id": "7", "sender_id": "SENDER", "type": "1", "type_value": "Transactional",
            "purpose_value": "", "approve_status": "Approved",
        }  # fmt: skip
        template = {
            "id": "1", "name": "TEMPLATE", "template_id": "1107", "type": "Transactional",
            "message": "{#var#}", "template_status": "Approved", "sender_id": "SENDER",
        }  # fmt: skip
        command = request.match_info["command"]
        if command == "get-sms-balance":
            data: object = {"balance": {"Transactional": "1000000"}}
        else:
            data = [sender] if command == "get-sender-id" else [template]
        return _answer({"status": "success", "message": "", "data": data})

    async def _show_stats(self, request: web.Request) -> web.Response:
        return _answer(
            {
                "accepted": self._accepted,
                "doubles": self._accepted - len(self._numbers),
                "polls": self._polls,
                "last_at": self._last_at,
            }
        )


def _word(n: int, stage: int) -> str:
    if stage == 0 or (stage == 1 and n % 2):
        return "Sent"
    return "UnDelivered" if n % _UNDELIVERED_EVERY == 0 else "Delivered"


def _answer(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")


async def _serve(receipts_s: float) -> None:
    runner = web.AppRunner(LeanProvider(receipts_s).app(), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--receipts-s", type=float, default=1.0)
    uvloop.run(_serve(parser.parse_args().receipts_s))
