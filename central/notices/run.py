"""The loop in the server that looks, notes and sends; whatever fails, merging goes on."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from bundle.errors import PulkError
from central.authority import Authority
from central.config import NotifySection
from central.errors import NotTold
from central.notices import send
from central.notices.queue import Waiting

THREADS = 2  # of its own: none of those that merge
_LOG = logging.getLogger(__name__)


async def run(authority: Authority, config: NotifySection) -> None:
    """Tell people until it is cancelled."""
    executor = ThreadPoolExecutor(THREADS, "notices")
    try:
        while True:
            try:
                await _once(authority, config, executor)
            except (PulkError, OSError) as error:
                _LOG.warning("cannot look after notices", extra={"reason": str(error)})
            except Exception:
                _LOG.exception("looking after notices failed")
            await asyncio.sleep(config.every_s)
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


async def _once(authority: Authority, config: NotifySection, executor: ThreadPoolExecutor) -> None:
    loop = asyncio.get_running_loop()
    dropped = await loop.run_in_executor(executor, authority.look_for_notices)
    if dropped:
        _LOG.error("too many notices wait: the oldest were dropped", extra={"dropped": dropped})
    taken, where = await loop.run_in_executor(executor, authority.take_notices)
    if not taken:
        return
    tries = [_send(one, where.get(one.person, {}), config, executor) for one in taken]
    ended = await asyncio.gather(*tries)
    sent = [one for one, is_sent in zip(taken, ended, strict=True) if is_sent]
    failed = [one for one, is_sent in zip(taken, ended, strict=True) if not is_sent]
    settle = partial(authority.settle_notices, sent, failed)
    for one in await loop.run_in_executor(executor, settle):
        _LOG.error("a notice is given up", extra={"key": one.key, "channel": one.channel})


async def _send(
    one: Waiting, where: dict[str, Any], config: NotifySection, executor: ThreadPoolExecutor
) -> bool:
    """Send one; return whether it was taken, or nobody wants it any more."""
    to = where.get(one.channel)
    if not to:
        return True
    try:
        if one.channel == "webhook":
            await send.post(one, to, where.get("secret", ""), config)
        else:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(executor, send.mail, one, to, config)
    except NotTold as error:
        facts = {"key": one.key, "channel": one.channel, "tries": one.tries + 1}
        _LOG.warning("a notice was not taken", extra=facts | {"reason": error.text()})
        return False
    _LOG.info("a notice was sent", extra={"key": one.key, "channel": one.channel})
    return True
