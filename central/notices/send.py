"""Sending one notice: a signed POST to a webhook, or a mail through an SMTP server."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import smtplib
import socket
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from bundle.errors import PulkError
from central.config import NotifySection
from central.core import webhooks
from central.errors import NotTold
from central.notices.queue import Waiting

TIMEOUT_S = 20.0
SIGNATURE, KEY = "Pulk-Signature", "Pulk-Notice"


def document(one: Waiting) -> dict[str, Any]:
    """Return what a webhook is sent."""
    at = datetime.fromtimestamp(one.since_us / 1_000_000, UTC).isoformat(timespec="seconds")
    about = {"key": one.key, "event": one.event, "dataset": one.dataset, "name": one.name}
    return about | {"at": at, "text": one.text}


def signature(secret: str, body: bytes) -> str:
    """Return what proves that a body comes from who knows the secret."""
    return f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"


async def post(one: Waiting, url: str, secret: str, config: NotifySection) -> None:
    """Post a notice to a webhook; redirects are followed nowhere. Raises NotTold.

    What is said of a failure never has the address, whose path may be a secret.
    """
    if reason := webhooks.refusal(url, config.webhook_hosts):
        raise NotTold(channel="webhook", reason=reason)
    body = json.dumps(document(one)).encode()
    headers = {"Content-Type": "application/json", KEY: one.key, SIGNATURE: signature(secret, body)}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    connector = aiohttp.TCPConnector(resolver=_Resolver(config), use_dns_cache=False)
    try:
        _check_literal(url, config)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            status = answer.status
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise NotTold(channel="webhook", reason=_kind(error)) from None
    if not 200 <= status < 300:
        raise NotTold(channel="webhook", reason=f"it answered {status}")


def mail(one: Waiting, to: str, config: NotifySection) -> None:
    """Send a notice as a mail; blocks as long as the server lets it. Raises NotTold."""
    try:
        password = _password(config)
        with _connected(config) as server:
            if config.smtp_user:
                server.login(config.smtp_user, password)
            server.send_message(message(one, to, config))
    except (smtplib.SMTPException, OSError, ssl.SSLError, UnicodeError, ValueError) as error:
        raise NotTold(channel="email", reason=_kind(error)) from None


def message(one: Waiting, to: str, config: NotifySection) -> EmailMessage:
    """Return a notice as a mail, whose Message-ID is the notice's key."""
    made = EmailMessage()
    sender = config.mail_from or f"pulk@{socket.gethostname()}"
    made["From"], made["To"] = sender, to
    name = "".join(sign if sign.isprintable() else "?" for sign in one.name)
    made["Subject"] = f"Pulk: {name}: {one.event}"
    made["Date"] = format_datetime(datetime.fromtimestamp(one.since_us / 1_000_000, UTC))
    made["Message-ID"] = f"<{one.key}@{sender.rpartition('@')[2].rstrip('>') or 'pulk'}>"
    made["Auto-Submitted"] = "auto-generated"
    show = f"pulk dataset show {one.dataset}\npulk dataset notify {one.dataset} --off"
    made.set_content(f"{name} ({one.dataset}):\n{one.text}\n\n{show}\n")
    return made


def _connected(config: NotifySection) -> smtplib.SMTP:
    at = (config.smtp_host, config.smtp_port)
    context = ssl.create_default_context(cafile=config.smtp_ca_file or None)
    if config.smtp_tls == "tls":
        return smtplib.SMTP_SSL(*at, timeout=TIMEOUT_S, context=context)
    server = smtplib.SMTP(*at, timeout=TIMEOUT_S)
    if config.smtp_tls == "starttls":
        try:
            server.starttls(context=context)
        except BaseException:
            server.close()
            raise
    return server


def _password(config: NotifySection) -> str:
    if not config.smtp_password_file:
        return ""
    return Path(config.smtp_password_file).read_text(encoding="utf-8").strip()


def _kind(error: BaseException) -> str:
    """Return what went wrong without what was sent or where to: servers repeat either."""
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{type(error).__name__}, code {error.smtp_code}"
    if isinstance(error, PulkError):
        return error.text()
    return type(error).__name__


def _check_literal(url: str, config: NotifySection) -> None:
    """Refuse an address of numbers that is not public: no name is looked up for it."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    _check_address(host, config)


def _check_address(address: str, config: NotifySection) -> None:
    if not config.webhook_private and webhooks.is_private(address):
        raise OSError("its host is not in the public internet ([notify] webhook_private)")


class _Resolver(AbstractResolver):
    """Looks names up, and refuses those that lead behind the firewall."""

    def __init__(self, config: NotifySection) -> None:
        self._config, self._inner = config, aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a name; all must be public. Raises OSError."""
        found = await self._inner.resolve(host, port, family)
        for one in found:
            _check_address(one["host"], self._config)
        return found

    async def close(self) -> None:
        """End the inner one."""
        await self._inner.close()
