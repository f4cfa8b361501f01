"""OpenID Connect: an issuer's ID token proves who somebody is; central then gives its own token.

The issuer's document and keys are fetched as they are needed, and kept for some minutes.
"""

from __future__ import annotations

import json
import threading
import time
import urllib.request
from collections.abc import Mapping
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from bundle.client import NoRedirect
from bundle.errors import PulkError
from central.config import OidcSection
from central.core import claims
from central.core.authorise import Role
from central.core.claims import Reading, Vouched

ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]
TOKEN_CHARS_MAX = 16_384
DOCUMENT_BYTES_MAX = 1 << 20
KEPT_S = 600.0
AGAIN_S = 10.0  # between two fetches of keys because one was missing
TIMEOUT_S = 10.0
WELL_KNOWN = "/.well-known/openid-configuration"


class LoginOff(PulkError):
    """This central knows no identity provider. Ask its administrator for a token."""

    code = "login-off"
    what = "there is no login here"
    remedy = "ask for a token, or set [oidc] in central.toml"


class LoginRefused(PulkError):
    """The identity provider's token is not taken, or its bearer is nobody here."""

    code = "login-refused"
    what = "the identity provider's token is not taken: {reason}"
    remedy = "log in again; if it stays so, ask central's administrator about [oidc]"


class IssuerSilent(PulkError):
    """The identity provider does not answer, or answers nonsense. Try again later."""

    code = "issuer-silent"
    transient = True
    what = "the identity provider does not say what is needed: {reason}"
    remedy = "try again; central's administrator looks after [oidc] issuer"


class Issuer:
    """One issuer, as central.toml names it. Callable from any thread."""

    def __init__(self, section: OidcSection) -> None:
        """Fetch nothing yet."""
        self._section = section
        self._lock = threading.Lock()
        self._document: tuple[float, dict[str, Any]] = (float("-inf"), {})
        self._keys: tuple[float, KeySet | None] = (float("-inf"), None)

    @property
    def is_on(self) -> bool:
        """Whether there is one."""
        return bool(self._section.issuer)

    def about(self) -> dict[str, Any]:
        """Return what a client needs to log in. Raises LoginOff, IssuerSilent."""
        document = self._described()
        return {
            "issuer": self._section.issuer,
            "client_id": self._section.client_id,
            "scope": self._section.scope,
            "device_authorization_endpoint": document.get("device_authorization_endpoint"),
            "token_endpoint": document.get("token_endpoint"),
        }

    def vouched(self, token: str, now_s: float) -> Vouched:
        """Return for whom an ID token vouches. Raises LoginOff, LoginRefused, IssuerSilent."""
        if not self.is_on:
            raise LoginOff()
        if len(token) > TOKEN_CHARS_MAX or token.count(".") != 2 or not token.isascii():
            raise LoginRefused(reason="it is no signed token")
        found = claims.read(self._verified(token), self._section.issuer, self._reading(), now_s)
        if isinstance(found, str):
            raise LoginRefused(reason=found)
        return found

    def _reading(self) -> Reading:
        section = self._section
        return Reading(
            client_id=section.client_id,
            name=section.name_claim,
            roles=section.roles_claim,
            groups=section.groups_claim,
            as_role={name: Role(role) for name, role in section.roles.items()},
            role=Role(section.role) if section.role else None,
        )

    def _verified(self, token: str) -> Mapping[str, Any]:
        """Return the claims of a token that one of the issuer's keys signed."""
        reason = ""
        for fresh in (False, True):  # a key that was rotated in a moment ago is fetched once
            try:
                return dict(jwt.decode(token, self._keyset(fresh=fresh), ALGORITHMS).claims)
            except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
                reason = type(error).__name__
            except RecursionError:
                reason = "nested too deep"
        raise LoginRefused(reason=f"its signature or form is wrong ({reason})")

    def _keyset(self, *, fresh: bool) -> KeySet:
        with self._lock:
            read_s, keys = self._keys
            age_s = time.monotonic() - read_s
            if keys is None or age_s > (AGAIN_S if fresh else KEPT_S):
                address = self._described().get("jwks_uri")
                if not isinstance(address, str):
                    raise IssuerSilent(where=self._section.issuer, reason="it names no keys")
                try:
                    keys = KeySet.import_key_set(_fetched(address))  # type: ignore[arg-type]
                except (JoseError, ValueError, TypeError, KeyError) as error:
                    raise IssuerSilent(where=address, reason="its keys are none") from error
                self._keys = (time.monotonic(), keys)
            return keys

    def _described(self) -> dict[str, Any]:
        if not self.is_on:
            raise LoginOff()
        read_s, document = self._document
        if time.monotonic() - read_s > KEPT_S:
            address = self._section.issuer.rstrip("/") + WELL_KNOWN
            document = _fetched(address)
            if document.get("issuer") != self._section.issuer:
                raise IssuerSilent(where=address, reason="it speaks of another issuer")
            self._document = (time.monotonic(), document)
        return document


def _fetched(address: str) -> dict[str, Any]:
    """Return a JSON object from an address. Raises IssuerSilent."""
    if not address.startswith(("https://", "http://127.0.0.1", "http://localhost", "http://[::1]")):
        raise IssuerSilent(where=address, reason="its address is not https://")
    opener = urllib.request.build_opener(NoRedirect)
    try:
        with opener.open(address, timeout=TIMEOUT_S) as answer:
            found = json.loads(answer.read(DOCUMENT_BYTES_MAX))
    except (OSError, ValueError, RecursionError) as error:
        raise IssuerSilent(where=address, reason=type(error).__name__) from error
    if not isinstance(found, dict):
        raise IssuerSilent(where=address, reason="it is no JSON object")
    return found
