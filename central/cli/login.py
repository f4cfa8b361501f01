"""`pulk login`: a token through the identity provider that central knows, by device login."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import click

from bundle.client import NoRedirect
from bundle.errors import PulkError
from bundle.spool import publish
from central.cli import settings
from central.cli.asking import show_answer

TIMEOUT_S = 30.0
INTERVAL_S = 5.0  # where the provider says nothing
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


class DeviceLoginFailed(PulkError):
    """Logging in came to no end: refused, too late, or somebody did not answer as expected."""

    code = "device-login-failed"
    what = "the login failed: {reason}"
    remedy = "log in again; if it stays so, ask central's administrator"


@click.command()
@click.option(
    "--central",
    envvar="PULK_CENTRAL",
    callback=settings.fill("central", required=True),
    show_envvar=True,
    help="The URL.",
)
@click.option(
    "--token-file",
    envvar="PULK_TOKEN_FILE",
    callback=settings.fill("token_file", required=True),
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Where the token is written (0600); what is there is replaced.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(central: str, token_file: Path, as_json: bool) -> None:
    """Log in with the identity provider: open a page anywhere, type a code, have a token."""
    base = central.rstrip("/") + "/v1/login"
    about = _asked(base, None)
    for name in ("device_authorization_endpoint", "token_endpoint"):
        if not isinstance(about.get(name), str):
            raise DeviceLoginFailed(where=base, reason="the provider offers no device login")
    client = {"client_id": about["client_id"], "scope": about["scope"]}
    began = _asked(about["device_authorization_endpoint"], client)
    page = began.get("verification_uri_complete") or began["verification_uri"]
    click.echo(f"open {page}\nand confirm the code {began['user_code']}", err=True)
    given = _awaited(about, began)
    made = _asked(base, json.dumps({"id_token": given["id_token"]}).encode())
    token_file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    publish.write_file(token_file.parent, token_file, f"{made.pop('token')}\n".encode())
    words = f"you are {made['user']}; {token_file} holds your token until {made['expires']}"
    show_answer(made | {"file": str(token_file)}, as_json, words)


def _awaited(about: dict[str, Any], began: dict[str, Any]) -> dict[str, Any]:
    """Return what the provider gives once the code was confirmed."""
    interval_s = float(began.get("interval", INTERVAL_S))
    ends_s = time.monotonic() + float(began.get("expires_in", 600))
    asked = {
        "grant_type": DEVICE,
        "device_code": began["device_code"],
        "client_id": about["client_id"],
    }
    while time.monotonic() < ends_s:
        time.sleep(interval_s)
        found = _asked(about["token_endpoint"], asked, refused=True)
        match found.get("error"):
            case None if "id_token" in found:
                return found
            case "authorization_pending":
                continue
            case "slow_down":
                interval_s += 5.0
            case reason:
                words = str(reason or "it gave no ID token")
                raise DeviceLoginFailed(where=about["token_endpoint"], reason=words)
    raise DeviceLoginFailed(where=about["issuer"], reason="nobody confirmed the code in time")


def _asked(
    address: str, content: dict[str, str] | bytes | None, *, refused: bool = False
) -> dict[str, Any]:
    """Return the JSON object that an address answers; `refused`: refusals too."""
    if not address.startswith(("https://", "http://")):
        raise DeviceLoginFailed(where=address, reason="that is no address")
    headers = {"Accept": "application/json"}
    data = content if isinstance(content, bytes) else None
    if data is not None:
        headers["Content-Type"] = "application/json"
    elif content is not None:
        assert isinstance(content, dict)  # noqa: S101  a form
        data = urllib.parse.urlencode(content).encode()
    request = urllib.request.Request(address, data, headers)  # noqa: S310  checked above
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=TIMEOUT_S) as answer:
            found = json.loads(answer.read(1 << 20))
    except urllib.error.HTTPError as error:
        found = _object(error.read(65_536))
        if not refused or "error" not in found:
            reason = found.get("what") or found.get("error_description") or f"HTTP {error.code}"
            raise DeviceLoginFailed(where=address, reason=str(reason)) from error
    except (OSError, ValueError) as error:
        raise DeviceLoginFailed(where=address, reason=str(error)) from error
    if not isinstance(found, dict):
        raise DeviceLoginFailed(where=address, reason="it answered no JSON object")
    return found


def _object(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
