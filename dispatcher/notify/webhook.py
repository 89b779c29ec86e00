"""Posts an event: TLS is verified, redirects are not followed, the answer's body is not read."""

import asyncio
from collections.abc import Mapping

import aiohttp

from dispatcher.notify.delivery import DeliveryFailed


def post_event(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> None:
    """Post the body, in at most `timeout_s`. Raises DeliveryFailed unless the answer is a 2xx."""
    try:
        status = asyncio.run(_post(url, body, headers, timeout_s))
    except TimeoutError:
        raise DeliveryFailed(f"no answer within {timeout_s:g} s") from None
    except aiohttp.ClientError as error:
        # Their texts may have the URL, in which some services have their key.
        raise DeliveryFailed(f"no connection ({type(error).__name__})") from None
    if not 200 <= status < 300:
        raise DeliveryFailed(f"the answer is HTTP {status}")


async def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> int:
    limit = aiohttp.ClientTimeout(total=timeout_s)
    async with (
        aiohttp.ClientSession(timeout=limit, trust_env=False) as session,
        session.post(url, data=body, headers=headers, allow_redirects=False) as response,
    ):
        return response.status
