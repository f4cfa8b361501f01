"""Login with a real issuer: who is let in, as whom, and every token that is not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from joserfc import jwt
from joserfc.jwk import RSAKey

from central.config import Config, OidcSection
from central.core.authorise import Role
from central.core.claims import AGE_S_MAX, Reading, Vouched, read
from central.errors import UserRefused
from central.home import now_us
from central.oidc import Issuer, IssuerSilent, LoginOff, LoginRefused
from tests.central.site import enrolled
from tests.central.test_http import start
from tests.rest.issuer import CLIENT
from tests.rest.world import Ask, World, opened

REPOSITORY = Path(__file__).parent.parent.parent
LIMIT_S = 60


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """The address of a running issuer."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.rest.issuer"]
    with subprocess.Popen(
        command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        yield address
        process.kill()


def section(issuer: str, **more: Any) -> OidcSection:
    roles = {"makers": "production", "readers": "read-only"}
    return OidcSection(issuer=issuer, client_id=CLIENT, roles=roles, **({"role": "user"} | more))


@pytest.fixture
def world(tmp_path: Path, issuer: str) -> Iterator[World]:
    with opened(tmp_path, Config(oidc=section(issuer))) as made:
        yield made


def fetched(address: str, content: bytes | None = None) -> dict[str, Any]:
    with urllib.request.urlopen(address, content, timeout=LIMIT_S) as answer:  # noqa: S310
        return dict(json.loads(answer.read()))


def id_token(issuer: str, sub: str = "anna-1") -> str:
    return str(fetched(f"{issuer}/token/{sub}")["id_token"])


@pytest.mark.programs
def test_whom_the_issuer_vouches_for_has_a_token_with_role_and_groups(
    world: World, issuer: str
) -> None:
    async def script(ask: Ask) -> None:
        about = (await ask("nobody", "GET", "/v1/login")).json
        assert (about["issuer"], about["client_id"]) == (issuer, CLIENT)
        made = await ask("nobody", "POST", "/v1/login", {"id_token": id_token(issuer)})
        assert made.status == 200, made.body
        assert made.json["expires"] is not None
        world.tokens["anna"] = made.json["token"]
        me = (await ask("anna", "GET", "/v1/me")).json
        assert (me["name"], me["role"], me["groups"]) == ("anna", "production", ["nu"])
        bela = await ask("nobody", "POST", "/v1/login", {"id_token": id_token(issuer, "bela-1")})
        world.tokens["bela"] = bela.json["token"]
        assert (await ask("bela", "GET", "/v1/me")).json["role"] == "user"
        # a name that is a local user's is not given to somebody else
        taken = await ask("nobody", "POST", "/v1/login", {"id_token": id_token(issuer, "admin-1")})
        assert (taken.status, taken.code) == (400, "user-refused")
        world.authority.remove_user("anna")
        again = await ask("nobody", "POST", "/v1/login", {"id_token": id_token(issuer)})
        assert again.code == "user-refused"

    world.asking(script)


def _b64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def _part(value: Any) -> str:
    return _b64(json.dumps(value).encode())


def malformed(token: str, other: str, keys: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (what is wrong, token) made of a token that would be taken."""
    head, body, signature = token.split(".")
    other_body = other.split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    yield from {
        "one letter": "x",
        "no signature": f"{head}.{body}",
        "an empty signature": f"{head}.{body}.",
        "an empty body": f"{head}..{signature}",
        "an empty head": f".{body}.{signature}",
        "four parts": f"{token}.x",
        "five parts": f"{token}.x.y",
        "a space": f"{token} ",
        "a line": f"{token}\n",
        "not ASCII": token[:-1] + "\u00e9",
        "another's body": f"{head}.{other_body}.{signature}",
        "a NUL": token.replace(".", ".\0", 1),
        "only dots": "..",
        "far too long": f"{head}.{body}{'A' * 20_000}.{signature}",
        "half a signature": f"{head}.{body}.{signature[: len(signature) // 2]}",
        "a signature twice": f"{head}.{body}.{signature}{signature}",
        "zeros signed": f"{head}.{body}.{_b64(bytes(256))}",
    }.items()
    for name in ("none", "None", "NONE", "nOnE", "", "HS256", "RS1", "ES256", "dir", 5, None, []):
        yield f"alg {name!r}", f"{_part({'alg': name})}.{body}.{signature}"
        yield f"alg {name!r}, unsigned", f"{_part({'alg': name})}.{body}."
    for known in (json.dumps(keys).encode(), keys["n"].encode(), b"", b"secret"):
        signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{body}"
        mac = hmac.new(known, signed.encode(), hashlib.sha256).digest()
        yield f"a MAC under {known[:8]!r}", f"{signed}.{_b64(mac)}"
    own = RSAKey.generate_key(2048)
    jwk = own.as_dict(private=False)
    for more in ({}, {"kid": "x"}, {"jwk": jwk}, {"jku": "http://127.0.0.1:1/"}, {"x5c": ["A"]}):
        head_ = {"alg": "RS256", **more}
        yield f"another key, {sorted(more)}", jwt.encode(head_, claims, own)
    for more in ({"crit": ["x"], "x": 1}, {"b64": False, "crit": ["b64"]}, {"zip": "DEF"}):
        yield f"a head with {sorted(more)}", f"{_part({'alg': 'RS256', **more})}.{body}.{signature}"
    for value in ([], "x", 1, None, {}):
        yield f"claims {value!r}", f"{head}.{_part(value)}.{signature}"
        yield f"a head {value!r}", f"{_part(value)}.{body}.{signature}"
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    for place in range(0, len(raw), len(raw) // 8):
        flipped = bytes(raw[:place]) + bytes([raw[place] ^ 1]) + bytes(raw[place + 1 :])
        yield f"bit at {place}", f"{head}.{body}.{_b64(flipped)}"


@pytest.mark.programs
def test_no_malformed_token_is_taken(world: World, issuer: str) -> None:
    good, other = id_token(issuer), id_token(issuer, "bela-1")
    (keys,) = fetched(f"{issuer}/jwks")["keys"]
    cases = list(malformed(good, other, keys))
    assert len(cases) >= 50
    for what, token in cases:
        with pytest.raises(LoginRefused):
            pytest.fail(f"{what}: {world.authority.issuer.vouched(token, now_us() / 1e6)}")
    assert [one["name"] for one in world.authority.users()] == ["admin"]
    found = world.authority.issuer.vouched(good, now_us() / 1e6)
    assert (found.name, found.role) == ("anna", Role.PRODUCTION)
    for issuer_, client in ((issuer, "another"), (f"{issuer}/", CLIENT)):
        wrong = Issuer(OidcSection(issuer=issuer_, client_id=client, role="user"))
        with pytest.raises((LoginRefused, IssuerSilent)):
            wrong.vouched(good, now_us() / 1e6)


GOOD = {"iss": "i", "aud": "c", "sub": "1", "preferred_username": "anna", "iat": 1000, "exp": 1300}
NOW_S = 1100.0


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "j"}, {"iss": None}, {"aud": "d"}, {"aud": []}, {"aud": None}, {"aud": ["c", "d"]},
        {"aud": ["c", "d"], "azp": "d"}, {"exp": 1000}, {"exp": "1300"}, {"exp": None},
        {"exp": True}, {"iat": 1200}, {"iat": NOW_S - AGE_S_MAX - 1}, {"iat": None}, {"nbf": 1200},
        {"nbf": "x"}, {"sub": ""}, {"sub": 1}, {"sub": "x" * 256}, {"preferred_username": None},
        {"preferred_username": ["anna"]},
    ],
)  # fmt: skip
def test_claims_that_are_not_for_us_or_not_for_now_are_refused(change: dict[str, Any]) -> None:
    reading = Reading("c", role=Role.USER)
    assert isinstance(read(GOOD, "i", reading, NOW_S), Vouched)
    assert isinstance(read(GOOD | change, "i", reading, NOW_S), str)


def test_the_most_of_several_roles_is_had_and_nobody_without_one_is_let_in() -> None:
    as_role = {"a": Role.ADMIN, "p": Role.PRODUCTION, "r": Role.READ_ONLY}
    inside = Reading("c", roles="realm.roles", groups="teams", as_role=as_role)
    for said, role in ((["r", "p"], Role.PRODUCTION), (["a", "x"], Role.ADMIN), ("r", "read-only")):
        found = read(GOOD | {"realm": {"roles": said}, "teams": ["b", "a"]}, "i", inside, NOW_S)
        assert isinstance(found, Vouched)
        assert (found.role, found.groups) == (role, ("a", "b"))
    for said in ([], ["x"], None, {"a": 1}, [["a"]]):
        assert isinstance(read(GOOD | {"realm": {"roles": said}}, "i", inside, NOW_S), str)
    assert isinstance(read(GOOD | {"realm": "roles"}, "i", inside, NOW_S), str)


def test_without_an_issuer_there_is_no_login() -> None:
    for call in (Issuer(OidcSection()).about, lambda: Issuer(OidcSection()).vouched("a.b.c", 0)):
        with pytest.raises(LoginOff):
            call()


def test_an_issuer_that_does_not_answer_or_is_not_encrypted_is_not_relied_on() -> None:
    for address in ("http://127.0.0.1:1", "http://id.example.org"):
        with pytest.raises(IssuerSilent):
            Issuer(section(address)).about()


def test_a_subject_keeps_its_name(tmp_path: Path) -> None:
    with opened(tmp_path) as world:
        anna = Vouched("i", "1", "anna", Role.USER, ("nu",))
        world.authority.login(anna)
        renamed = world.authority.login(Vouched("i", "1", "annabel", Role.PRODUCTION, ()))
        assert renamed["user"] == "anna"
        with pytest.raises(UserRefused, match="somebody else"):
            world.authority.login(Vouched("i", "2", "anna", Role.USER, ()))
        with pytest.raises(UserRefused, match="somebody else"):
            world.authority.login(Vouched("j", "1", "anna", Role.USER, ()))
        (row,) = [one for one in world.authority.users() if one["name"] == "anna"]
        assert (row["role"], row["groups"], row["issuer"]) == ("production", [], "i")


@pytest.mark.programs
def test_pulk_login_writes_a_token_that_is_worth_something(tmp_path: Path, issuer: str) -> None:
    site = enrolled(tmp_path)
    told = f'[oidc]\nissuer = "{issuer}"\nclient_id = "{CLIENT}"\nrole = "user"\n'
    text = site.home.config.read_text()
    assert text.count("[oidc]\n") == 1
    site.home.config.write_text(text.replace("[oidc]\n", told))
    served = start(site)
    try:
        fetched(f"{issuer}/whose/bela-1", b"")
        file = tmp_path / "people" / "token"
        pulk = [sys.executable, "-I", "-m", "bundle.cli"]
        given = ["--central", served.url, "--token-file", str(file), "--json"]
        done = subprocess.run(
            [*pulk, "login", *given], capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        assert "ABCD-EFGH" in done.stderr
        assert json.loads(done.stdout)["user"] == "bela"
        assert file.read_text().strip() not in done.stdout + done.stderr
        assert file.stat().st_mode & 0o077 == 0
        who = subprocess.run(
            [*pulk, "token", "whoami", *given],
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=True,
            env=os.environ,
        )
        assert json.loads(who.stdout)["groups"] == ["mu"]
    finally:
        assert served.stop() == 0
