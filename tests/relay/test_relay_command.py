"""`pulk relay`: enrolment, configuration, status, the loop, pilots on demand."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bundle.errors import PulkError
from bundle.spool import publish
from bundle.trust import certificate, enrolment, fingerprint
from bundle.trust.certificate import Certificate
from bundle.trust.errors import CertificateRefused, KeyFileRefused, WrongFingerprint
from bundle.trust.keys import KeyFile, Role
from relay import accept, enrol, works
from relay import config as configs
from relay.cli import group
from relay.errors import AlreadyMade, ConfigRefused, NotEnrolled
from relay.home import open_home
from relay.report import report
from relay.tick import tick
from tests.relay.world import SITE, World

pytestmark = pytest.mark.programs

WAIT_S = 10.0
# A stand-in for a pilot: says that it started, claims nothing, stays a while.
IDLER = "import sys, time; open(sys.argv[1] + str(time.time_ns()), 'w').close(); time.sleep({s})"


def pulk_relay(*arguments: object) -> Any:
    """Run `pulk relay ... --json` in this process and return its document."""
    done = CliRunner().invoke(group, [str(one) for one in arguments] + ["--json"])
    if done.exception is not None:
        raise done.exception
    return json.loads(done.stdout)


def test_a_relay_is_made_and_enrolled_with_both_fingerprints(world: World) -> None:
    assert open_home(world.home.folder).site == SITE
    key = world.home.folder / "site.key"
    assert key.stat().st_mode & 0o777 == 0o600
    for folder in ("in", "claimable", "out"):
        assert world.spool.folder(folder).stat().st_mode & 0o777 == 0o700


def test_init_tells_the_request_and_its_fingerprint(tmp_path: Path) -> None:
    made = pulk_relay(
        "init", tmp_path / "site", "--site", "north", "--central", "https://c.example"
    )
    assert Path(made["request"]).exists()
    assert len(made["fingerprint"].split("-")) == 6
    assert configs.load(tmp_path / "site" / "relay.toml").central.url == "https://c.example"
    with pytest.raises(AlreadyMade):
        enrol.init(tmp_path / "site", "north", "")


def test_init_goes_on_after_a_crash_with_the_key_it_made(tmp_path: Path) -> None:
    first = enrol.init(tmp_path / "site", "north", "")
    first.request.unlink()
    assert enrol.init(tmp_path / "site", "north", "").fingerprint == first.fingerprint


@pytest.mark.parametrize("site", ["", "North", "a b", "../x", "central", "x" * 64])
def test_a_name_that_no_site_can_have_makes_nothing(tmp_path: Path, site: str) -> None:
    with pytest.raises(CertificateRefused):
        enrol.init(tmp_path / "site", site, "")
    assert not (tmp_path / "site").exists()


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    for url in ("central.example", 'https://x"\n[pilots]', "ftp://central"):
        with pytest.raises(ConfigRefused):
            enrol.init(tmp_path / "site", "north", url)


def test_the_wrong_words_from_the_phone_enrol_nothing(world: World) -> None:
    answer = world.root / "answer"
    (world.home.folder / "site.certificate").unlink()
    trust = world.spool.trust.read_bytes()
    with pytest.raises(WrongFingerprint):
        enrol.accept(world.home.folder, answer, "babab-babab-babab-babab-babab-babab")
    assert world.spool.trust.read_bytes() == trust
    with pytest.raises(NotEnrolled):
        open_home(world.home.folder)


def test_a_key_that_others_can_read_is_refused(world: World) -> None:
    (world.home.folder / "site.key").chmod(0o640)
    with pytest.raises(KeyFileRefused):
        open_home(world.home.folder)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[site]\nname = "n"\n[pilots]\ncuont = 3\n', "pilots.cuont"),
        ('[site]\nname = "n"\n[unknown]\n', "unknown"),
        ('[site]\nname = "n"\n[pilots]\ncount = -1\n', "pilots.count"),
        ("[pilots]\ncount = 1\n", "site"),
        ("[site\n", "TOML"),
        ('[site]\nname = "n"\n[carry]\nresend_after_s = inf\n', "carry.resend_after_s"),
        ('[site]\nname = "n"\n[task_environment]\nA = 1\n', "task_environment.A"),
    ],
)
def test_a_wrong_line_in_relay_toml_is_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "relay.toml"
    path.write_text(text)
    with pytest.raises(ConfigRefused) as refused:
        configs.load(path)
    assert refused.value.fields["key"] == key
    assert str(path) in refused.value.text()


def test_status_says_what_is_here(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0]), world.lease(1, [1])))
    pulk_relay("tick", world.home.folder)
    pilot = world.pilot()
    assert pilot.take() is not None
    (world.spool.folder("in") / "bad.pulk").write_bytes(b"bad")
    pulk_relay("tick", world.home.folder)
    said = pulk_relay("status", world.home.folder)
    assert (said["site"], said["shards"]["claimable"]) == (SITE, 1)
    assert said["work"][0]["open_tasks"] == 2
    assert said["claims"][0]["pilot_run"] == pilot.run.hex()
    assert said["quarantine"][0]["code"] == "bad-magic"
    plain = CliRunner().invoke(group, ["status", str(world.home.folder)])
    assert "quarantine: bad.pulk" in plain.stdout


def test_doctor_finds_an_open_folder(world: World) -> None:
    assert pulk_relay("doctor", world.home.folder)["ok"]
    world.spool.root.chmod(0o755)
    assert not pulk_relay("doctor", world.home.folder)["ok"]


def test_salvage_alone_works(world: World) -> None:
    assert pulk_relay("salvage", world.home.folder) == {"salvaged": 0}


def with_idlers(world: World, seconds: float, count: int = 2) -> Path:
    """Configure pilots that only say that they started; return the prefix of what they write."""
    started = world.root / "started"
    started.mkdir()
    command = [sys.executable, "-I", "-c", IDLER.format(s=seconds), f"{started}/", "{batch_id}"]
    text = (world.home.folder / "relay.toml").read_text()
    text = text.replace("count = 0", f"count = {count}\ncommand = {json.dumps(command)}")
    (world.home.folder / "relay.toml").write_text(text)
    world.home = open_home(world.home.folder)
    return started


def test_pilots_are_started_for_shards_on_offer_and_within_the_limit(world: World) -> None:
    started = with_idlers(world, 30)
    assert tick(world.home).started == 0  # nothing to do: no pilot
    world.deliver(world.pack(*(world.lease(n, [n]) for n in range(4))))
    assert tick(world.home).started == 2
    assert tick(world.home).started == 0
    deadline = time.monotonic() + WAIT_S
    while len(list(started.iterdir())) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for batch_id in world.home.adapter.survey():
        assert world.home.adapter.clear(batch_id, "")


def test_pilots_that_end_at_once_are_not_started_in_a_flood(world: World) -> None:
    started = with_idlers(world, 0, count=1)
    world.deliver(world.pack(world.lease(0, [0])))
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        tick(world.home)
        time.sleep(0.02)
    assert 1 <= len(list(started.iterdir())) <= 3


def test_the_loop_ends_by_itself_when_nothing_is_left(world: World) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bundle.cli", "relay", "run", str(world.home.folder),
         "--interval", "0.05", "--until-idle"],
        timeout=WAIT_S, check=False, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_loop_ends_on_sigterm_between_two_ticks(world: World) -> None:
    loop = subprocess.Popen(
        [sys.executable, "-m", "bundle.cli", "relay", "run", str(world.home.folder),
         "--interval", "60"],
    )  # fmt: skip
    deadline = time.monotonic() + WAIT_S
    while not world.out("out"):  # its first report
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(0.1)
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(WAIT_S) == 0
    assert not (world.spool.root / "tick.lock").exists()


def test_every_error_of_the_relay_says_what_and_what_to_do() -> None:
    import relay.accept
    import relay.carrier.directory
    import relay.errors
    import relay.stream

    modules = (relay.errors, relay.accept, relay.carrier.directory, relay.stream)
    found = {
        one
        for module in modules
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, PulkError) and one is not PulkError
    }
    codes = [one.code for one in found]
    assert len(set(codes)) == len(codes) > 8
    assert all(one.__doc__ and one.what and one.remedy for one in found)


def test_the_umask_keeps_everything_private(world: World) -> None:
    old = os.umask(0)
    try:
        pulk_relay("tick", world.home.folder)
        modes = {p.stat().st_mode & 0o077 for p in world.spool.folder("state").rglob("*")}
        assert modes == {0}
    finally:
        os.umask(old)


def answered(world: World, request: Path) -> Path:
    """Return the answer of central's registrar to a request."""
    asked = enrolment.check_request(request.read_bytes())
    issued = certificate.issue(Certificate(asked.site, asked.key, 2, 2), world.authority.registrar)
    path = world.root / "answer"
    path.write_bytes(enrolment.make_answer(issued, world.authority.trust.raw))
    return path


def test_a_relay_gets_a_new_key_and_goes_on_with_the_old_one_until_then(world: World) -> None:
    old = world.home.signer.public
    made = pulk_relay("init", world.home.folder, "--site", SITE, "--new-key")
    assert open_home(world.home.folder).signer.public == old
    answer = answered(world, Path(made["request"]))
    words = fingerprint.of_roots(world.authority.trust)
    assert pulk_relay("accept", world.home.folder, answer, "--root", words)["enrolled"]
    home = open_home(world.home.folder)
    assert fingerprint.of_key(home.signer.public) == made["fingerprint"]
    assert home.signer.public != old
    (kept,) = (world.home.folder / "former").iterdir()
    assert KeyFile.load(kept, Role.SITE).public == old
    assert kept.stat().st_mode & 0o777 == 0o600
    tick(home)
    (report,) = world.out("out")
    assert world.read(report).manifest.certificate == home.certificate


@pytest.mark.parametrize("step", range(1, 5))
def test_a_new_key_is_taken_whole_after_an_interruption(
    world: World, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    made = pulk_relay("init", world.home.folder, "--site", SITE, "--new-key")
    answer = answered(world, Path(made["request"]))
    words = fingerprint.of_roots(world.authority.trust)
    calls = 0

    def dying(name: str) -> Any:
        real = getattr(publish, name)

        def call(*args: Any, **how: Any) -> Any:
            nonlocal calls
            calls += 1
            if calls == step:
                raise OSError(5, "interrupted")
            return real(*args, **how)

        return call

    for name in ("remove", "move", "write_file"):
        monkeypatch.setattr(publish, name, dying(name))
    with pytest.raises(OSError, match="interrupted"):
        enrol.accept(world.home.folder, answer, words)
    monkeypatch.undo()
    with contextlib.suppress(NotEnrolled):  # whole as before, or no tick signs anything
        home = open_home(world.home.folder)
        assert home.trust().site_of(home.certificate)[1] == home.signer.public
    enrol.accept(world.home.folder, answer, words)
    home = open_home(world.home.folder)
    assert home.trust().site_of(home.certificate)[1] == home.signer.public
    assert fingerprint.of_key(home.signer.public) == made["fingerprint"]


def test_a_new_key_of_another_site_is_refused(world: World) -> None:
    with pytest.raises(ConfigRefused, match="this relay is of site"):
        enrol.init(world.home.folder, "elsewhere", "", new_key=True)


def test_an_export_tells_what_changed_since_the_report_that_still_waits(world: World) -> None:
    tick(world.home)
    assert not report(world.home, [], {}, force=True)
    world.deliver(world.pack(world.lease(0, [0])))
    accept.accept_all(world.home)
    assert report(world.home, works.live(world.spool), {}, force=True)


def test_a_site_without_a_carrier_is_idle_when_only_a_stick_can_go_on(world: World) -> None:
    world.deliver(world.pack(world.lease(0, [0])))
    assert not tick(world.home).idle
    pilot = world.pilot()
    pilot.work_through()
    pilot.end()
    tick(world.home)
    done = tick(world.home)
    assert world.out("out", "sent")
    assert done.idle
