"""Being told, by a real mail server and a real web server: once is seen, at least once is sent."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bundle.client import Client, Refused
from bundle.dataset import spec
from bundle.dataset.spec import Command, Dataset, Output, Step
from central.rehearsal.programs import Program
from tests.central.site import Site, enrolled
from tests.central.test_http import Served
from tests.commands.conftest import Production, until
from tests.commands.hook import Hook

pytestmark = pytest.mark.programs

SECRET = "a-password-that-no-log-may-have"  # noqa: S105
PATH = "/hook/a-path-that-no-log-may-have"


@dataclass
class Mailbox:
    """Takes mail, but refuses the first ones."""

    refusals: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    tries: int = 0

    async def handle_DATA(  # noqa: N802
        self, _server: Any, _session: Any, envelope: Any
    ) -> str:
        self.tries += 1
        if self.tries <= self.refusals:
            return f"451 later, {SECRET}"
        self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return "250 taken"


@dataclass
class World:
    """A central that tells, a mailbox, a hook, and an owner of datasets."""

    site: Site
    server: Program
    mailbox: Mailbox
    hook: Hook
    port: int
    mute: str

    @property
    def admin(self) -> Client:
        """The administrator's client."""
        url = self.site.home.address.read_text().strip()
        return Client(url, self.site.token)

    def anna(self) -> Client:
        """Make a user with a token; return the client."""
        self.admin.save_user_as("anna", {"role": "user"})
        scopes = ["read", "submit", "control"]
        made = self.admin.make_token({"name": "t", "user": "anna", "scopes": scopes})
        return Client(self.admin.base, made["token"])

    @property
    def webhook(self) -> str:
        """The hook's address, with a secret in its path."""
        return f"http://127.0.0.1:{self.port}{PATH}"

    def log(self) -> str:
        """What the server wrote."""
        return self.server.log.read_text()

    def restart(self) -> None:
        """SIGKILL the server, and start it again."""
        self.server.kill()
        self.server.start()
        until(lambda: self.site.home.address.exists() and _answers(self.admin))


def _answers(client: Client) -> bool:
    try:
        return bool(client.health())
    except Exception:
        return False


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A central that looks ten times a second, with a mail server that wants a password."""
    mailbox, hook = Mailbox(refusals=2), Hook(refusals=2)
    login = LoginPassword(b"pulk", SECRET.encode())

    def known(_server: Any, _session: Any, _envelope: Any, _kind: str, given: Any) -> AuthResult:
        return AuthResult(success=given == login)

    certificate, context = tls(tmp_path)
    silent = socket.create_server(("127.0.0.1", 0))  # takes connections, and says nothing
    mail = Controller(
        mailbox,
        hostname="127.0.0.1",
        port=free_port(),
        authenticator=known,
        auth_required=True,
        tls_context=context,
        require_starttls=True,
    )
    mail.start()
    web = hook.serve()
    port = web.server_address[1]
    site = enrolled(tmp_path)
    password = tmp_path / "password"
    password.write_text(SECRET)
    mute = f"http://127.0.0.1:{silent.getsockname()[1]}"
    allowed = json.dumps([f"http://127.0.0.1:{port}", mute])
    keys = (
        f'smtp_host = "127.0.0.1"\nsmtp_port = {mail.port}\nsmtp_ca_file = "{certificate}"\n'
        f'smtp_user = "pulk"\nsmtp_password_file = "{password}"\n'
        f'mail_from = "pulk@here.example"\nmail_domains = ["lab.example"]\n'
        f"webhook_hosts = {allowed}\nwebhook_private = true\nevery_s = 0.1\n"
    )
    first = site.home.config.read_text()
    site.home.config.write_text(first.replace("[notify]\n", f"[notify]\n{keys}"))
    server = Program("serve", ["central", "serve", str(site.home.root), "--port", "0"], tmp_path)
    server.start()
    until(lambda: site.home.address.exists() or server.ended_badly())
    assert not server.ended_badly(), server.ended_badly()
    try:
        yield World(site, server, mailbox, hook, port, mute)
    finally:
        server.stop()
        mail.stop()
        web.shutdown()
        web.server_close()
        silent.close()


def tls(folder: Path) -> tuple[Path, ssl.SSLContext]:
    """Return a certificate of this machine's own address, and a context with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    here = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([here]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "mail.pem", folder / "mail.key"
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, private)
    return certificate, context


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def posted(world: World) -> list[dict[str, Any]]:
    """Return what the hook took: those after its refusals."""
    return [json.loads(body) for _, body in world.hook.posts[world.hook.refusals :]]


def test_somebody_is_told_by_both_ways_though_both_refuse_at_first_and_central_dies(
    world: World,
) -> None:
    anna = world.anna()
    with pytest.raises(Refused, match="notify-refused"):
        anna.send("POST", "/me/notifications/test", {})
    wanted = {"email": "anna@lab.example", "webhook": world.webhook}
    made = anna.send("PATCH", "/me/notifications", wanted | {"on": ["silence"]})
    assert made["on"] == ["silence"]
    assert "secret" not in anna.get("/me/notifications")
    key = anna.send("POST", "/me/notifications/test", {})["key"]
    world.restart()  # what waits is on disk
    until(lambda: world.mailbox.mails and posted(world))
    (mail,) = world.mailbox.mails
    assert mail["To"] == "anna@lab.example"
    assert mail["Message-ID"] == f"<{key}@here.example>"
    assert mail["Auto-Submitted"] == "auto-generated"
    for headers, body in world.hook.posts:
        assert headers["Pulk-Notice"] == key
        proof = hmac.new(made["secret"].encode(), body, hashlib.sha256).hexdigest()
        assert headers["Pulk-Signature"] == f"sha256={proof}"
    assert posted(world)[0]["event"] == "test"
    assert world.hook.others == 0  # a redirect is followed nowhere
    assert world.mailbox.tries >= 3
    for secret in (SECRET, PATH, made["secret"]):
        assert secret not in world.log()
    assert "a notice was not taken" in world.log()


def test_silence_of_a_dataset_is_told_to_its_owner_alone_and_once(world: World) -> None:
    world.hook.refusals = world.mailbox.refusals = 0
    anna = world.anna()
    step = Step(name="make", run=Command(("true",)), outputs=(Output("made"),))
    raw = spec.encode(Dataset(name="quiet", jobs=3, steps=(step,), seed=1))
    of = {"on": ["silence", "completion"], "silence_hours": 0.001}
    world.admin.send("PATCH", "/me/notifications", {"webhook": world.webhook} | of)
    anna.send("PATCH", "/me/notifications", {"email": "anna@lab.example"} | of)
    dataset = anna.submit(raw, "key-1")["id"]
    until(lambda: world.mailbox.mails)
    (mail,) = world.mailbox.mails
    assert mail["Subject"].startswith("Pulk: quiet")
    assert dataset in mail.get_content()
    assert "nothing came for 0.001 hours; 3 tasks are ready or leased" in mail.get_content()
    anna.send("PATCH", f"/datasets/{dataset}/notifications", {"on": []})
    assert anna.get(f"/datasets/{dataset}/notifications")["own"] is True
    world.admin.send("PATCH", f"/datasets/{dataset}/notifications", of | {"on": ["silence"]})
    until(lambda: posted(world))  # the administrator asked for this one
    assert {one["dataset"] for one in posted(world)} == {dataset}
    world.restart()
    anna.base = world.admin.base
    other = anna.submit(spec.encode(Dataset(name="two", jobs=1, steps=(step,), seed=1)), "key-2")
    until(lambda: len(world.mailbox.mails) == 2)
    assert other["id"] in world.mailbox.mails[1].get_content()
    assert len(posted(world)) == 1


def test_addresses_that_nobody_allowed_are_refused_and_central_asks_them_nothing(
    world: World,
) -> None:
    anna = world.anna()
    inside = world.admin.base
    for about in (
        {"webhook": f"{inside}/v1/health"},
        {"webhook": f"http://localhost:{world.port}/"},
        {"webhook": f"http://127.0.0.1:{world.port}@169.254.169.254/"},
        {"email": "anna@elsewhere.example"},
        {"email": "anna@lab.example\r\nBcc: all@lab.example"},
        {"email": "anna"},
    ):
        with pytest.raises(Refused, match="notify-refused"):
            anna.send("PATCH", "/me/notifications", about)
    with pytest.raises(Refused, match="request-malformed"):
        anna.send("PATCH", "/me/notifications", {"on": ["everything"]})
    assert anna.get("/me/notifications")["webhook"] is None
    assert world.hook.posts == []


def test_a_receiver_that_never_answers_holds_up_no_merge(world: World, tmp_path: Path) -> None:
    anna = world.anna()
    anna.send("PATCH", "/me/notifications", {"webhook": world.mute})
    for _ in range(30):
        anna.send("POST", "/me/notifications/test", {})
    served = Served(world.site, world.server.process, world.server.log)  # type: ignore[arg-type]
    for number in range(5):
        report = world.site.report(tmp_path, sequence=number, tasks_wanted=1)
        assert "merged" in served.put(report).values()
    assert world.admin.health()["ok"] is True
    until(lambda: "a notice was not taken" in world.log())


def test_the_end_of_a_dataset_and_its_failures_are_told(production: Production) -> None:
    events = ("--on", "completion", "--on", "failures", "--failure-rate", "0.1")
    assert "notify-refused" in production.pulk("notify", "set", "--webhook", "x", code=1).stderr
    made = production.json("notify", "set", "--webhook", production.hook_url)
    assert len(made["secret"]) == 64
    assert production.json("dataset", "notify", production.dataset, *events)["own"] is True
    try:
        until(lambda: len(production.hook.posts) >= 2)
        told = {one["event"]: one for one in map(json.loads, bodies(production.hook))}
        assert set(told) == {"completion", "failures"}
        assert told["completion"]["text"].startswith("it ended: 6 of 8 tasks are done; 1 failed")
        assert "1 of 7 tasks that ended have failed" in told["failures"]["text"]
        shown = production.pulk("dataset", "notify", production.dataset).stdout
        assert shown.startswith("of: completion, failures; failures from 10%")
        key = production.json("notify", "test")["key"]
        until(lambda: key in {json.loads(one)["key"] for one in bodies(production.hook)})
    finally:
        production.pulk("dataset", "notify", production.dataset, "--off")
        production.pulk("notify", "set", "--webhook", "")
    assert "you are told of nothing" in production.pulk("notify", "show").stdout


def bodies(hook: Hook) -> list[bytes]:
    """Return the bodies that were posted."""
    return [body for _, body in hook.posts]
