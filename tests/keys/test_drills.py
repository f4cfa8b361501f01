"""The twelve drills of docs/operate-keys.md: its very commands, at most five, without a network."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bundle import canonical
from bundle.ids import SiteName, StreamId
from bundle.intervals import IntervalSet
from bundle.limits import SMALL_LIMITS
from bundle.trust import certificate, enrolment, fingerprint, quickstart, trust_file
from bundle.trust.errors import CertificateRefused, KeyRevoked
from bundle.trust.keys import KeyFile, Role
from bundle.trust.trust_file import TrustView
from bundle.wire.errors import RevokedKey
from bundle.wire.manifest import Kind, ManifestDraft
from bundle.wire.read import open_bundle
from bundle.wire.write import write_bundle
from central import home as homes
from central.absorb import KINDS
from central.authority import Authority
from central.fsck import fsck
from relay import enrol as relay_enrol
from relay import exchange as relay_exchange
from relay import home as relay_home
from tests.central.scripted_site import Held, ScriptedSite
from tests.keys.document import drills
from tests.keys.plant import Done, Plant

pytestmark = pytest.mark.sweeps

COMMANDS_MAX = 5


@contextmanager
def at_work(plant: Plant) -> Iterator[Authority]:
    """Central open in this process, as while a server runs."""
    authority = plant.authority()
    try:
        yield authority
    finally:
        authority.close()


def held_at(authority: Authority, site: ScriptedSite, jobs: int, plant: Plant) -> Held:
    """A work bundle of a new dataset at the site."""
    plant.submit(authority, jobs)
    assert authority.absorb(site.report(1000)).outcome == "merged"
    (held,) = [one for one in site.fetch(authority) if one.leases]
    return held


def results(site: ScriptedSite, held: Held, count: int) -> list[Path]:
    """Result bundles of one shard, a job each."""
    lease = held.leases[0]
    jobs = [IntervalSet.of([number]) for number in range(count)]
    played = [site.play(held, lease, jobs=one, complete=False) for one in jobs]
    return [site.result([one]) for one in played]


def id_of(path: Path, view: TrustView) -> str:
    with open_bundle(path, view, audience=None, kinds=KINDS) as bundle:
        return bundle.id


def sound(plant: Plant) -> dict[str, Any]:
    found = fsck(plant.home)
    assert found["ok"], found["problems"]
    return found


def checked(done: Done) -> str:
    """What `check` said; nothing was wrong."""
    assert "!" not in [line[:1] for line in done.out.splitlines()], done.out
    return done.out


def opens(plant: Plant, path: Path, trust: trust_file.Trust) -> None:
    open_bundle(path, TrustView(trust), audience=None, kinds=KINDS).close()


def forged_work(plant: Plant, key: KeyFile, like: Path, **changes: Any) -> Path:
    """A work bundle in the place of another one, signed with a stolen key."""
    with open_bundle(like, TrustView(plant.trust()), audience=None, kinds=KINDS) as bundle:
        m = bundle.manifest
    given: dict[str, Any] = {
        "kind": Kind.WORK, "producer": "central", "audience": m.audience, "stream": m.stream,
        "sequence": m.sequence, "created_us": m.created_us + 1, "epoch": m.epoch,
        "commit": m.commit,
    }  # fmt: skip
    path = plant.folder / "forged.pulk"
    write_bundle(path, ManifestDraft(**(given | changes)), [], key)
    return path


def enrol_relay(plant: Plant) -> None:
    """A real relay at the site north."""
    made = relay_enrol.init(plant.relay, "north", "")
    answer = plant.usb / "first-answer"
    with at_work(plant) as authority:
        answer.write_bytes(authority.enrol(made.request.read_bytes(), made.fingerprint))
    relay_enrol.accept(plant.relay, answer, fingerprint.of_roots(plant.trust()))
    config = plant.relay / "relay.toml"
    config.write_text('[site]\nname = "north"\n[spool]\nfree_bytes_min = 0\n[pilots]\ncount = 0\n')


def site_trust(plant: Plant) -> trust_file.Trust:
    return relay_home.open_home(plant.relay).trust().trust


@pytest.mark.parametrize("number", range(1, 13))
def test_a_drill_has_at_most_five_commands_and_says_when_what_and_what_else(number: int) -> None:
    drill = drills()[number]
    assert 1 <= len(drill.commands) <= COMMANDS_MAX
    for part in ("**When:**", "**You see:**", "**What can go wrong:**"):
        assert part in drill.text


def test_there_are_twelve_drills() -> None:
    assert sorted(drills()) == list(range(1, 13))


def test_drill_1_first_set_up_with_two_of_three_roots(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    made, central, shown, check = plant.drill(1)
    words = fingerprint.of_roots(plant.trust())
    assert all(words in one.out for one in (made, central, shown))
    assert (plant.trust().threshold, len(plant.trust().roots)) == (2, 3)
    assert "2 of 3" in checked(check)
    assert not list(plant.home.root.rglob("root.key"))
    with at_work(plant) as authority:
        plant.site(authority)


def test_drill_2_from_one_of_one_to_two_of_three(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    homes.create(plant.home)
    old_root = plant.home.root_dir / quickstart.ROOT_KEY
    before = plant.trust()
    with at_work(plant) as authority:
        site = plant.site(authority)
        held_at(authority, site, 2, plant)
    *_, signed, _, check = plant.drill(2, OLD_ROOT=old_root)
    assert "complete" in signed.out
    assert "2 of 3" in checked(check)
    after = plant.trust()
    assert (after.version, after.threshold, len(after.roots)) == (2, 2, 3)
    assert before.roots[0] not in after.roots
    assert trust_file.verify_next(before, after.raw).version == 2
    with at_work(plant) as authority:
        assert authority.absorb(site.report(10)).outcome == "merged"


def test_drill_3_rotating_centrals_key_needs_no_trip(plant: Plant) -> None:
    old, following = plant.key("central.key"), plant.key("central-next.key")
    with at_work(plant) as authority:
        site = plant.site(authority)
        before = held_at(authority, site, 2, plant)
        *_, check = plant.drill(3)  # while it serves
        checked(check)
        after = held_at(authority, site, 2, plant)  # the site still has version 1
    assert plant.key("central.key").public == following.public == plant.trust().current_central
    assert plant.key("central-next.key").public not in (old.public, following.public)
    assert old.public in plant.trust().centrals_in_force()
    with at_work(plant) as authority:
        for held, signer in ((before, old), (after, following)):
            path = authority.outgoing(site.name, held.id)
            with open_bundle(path, site.trust, audience=site.name, kinds=KINDS) as bundle:
                assert bundle.signer_key == signer.public
    sound(plant)


def test_drill_4_rotating_the_registrar_leaves_sites_as_they_are(plant: Plant) -> None:
    with at_work(plant) as authority:
        site = plant.site(authority)
        old = plant.trust().current_registrar
        *_, check = plant.drill(4)
        checked(check)
        assert authority.absorb(site.report(10)).outcome == "merged"
        south = plant.site(authority, "south")
    assert plant.trust().current_registrar != old
    assert south.trust.trust.version == 2


def test_drill_5_a_lost_root_key_is_replaced(plant: Plant) -> None:
    before = plant.trust()
    lost = plant.sticks / "root-3"
    public = KeyFile.load(lost / "root.key").public
    shutil.rmtree(lost)
    *_, check = plant.drill(5, LOST_KEY=public.hex()[:12])
    assert "2 of 3" in checked(check)
    after = plant.trust()
    assert public not in after.roots
    assert (len(after.roots), after.threshold) == (3, 2)
    assert fingerprint.of_roots(after) != fingerprint.of_roots(before)
    # The new key counts, and the lost one no longer does.
    plant.pulk("keys", "rotate", plant.home.root, "--registrar", "--out", plant.draft)
    new = plant.folder / "new-root" / "root-1" / "root.key"
    first = plant.sticks / "root-1" / "root.key"
    plant.pulk("keys", "sign", plant.draft, "--key", new, "--key", first)
    plant.pulk("keys", "take", plant.home.root, plant.draft)
    assert plant.trust().version == 3


def test_drill_6_and_7_a_stolen_site_key_keeps_what_came_before(plant: Plant) -> None:
    with at_work(plant) as authority:
        site = plant.site(authority)
        held = held_at(authority, site, 4, plant)
        honest, late, forged, in_flight = results(site, held, 4)
        for path in (honest, late, forged):
            assert authority.absorb(path).outcome == "merged"
        view = TrustView(plant.trust())
        assert sound(plant)["attempts"] == 6
    with open_bundle(honest, view, audience=None, kinds=KINDS) as bundle:
        last = bundle.manifest.sequence
    revoked, *_ = plant.drill(6, STOLEN="north", STREAM=site.stream.hex()[:8], LAST=str(last))
    assert id_of(forged, view) in revoked.out
    assert "rebuild" in revoked.out
    assert sound(plant)["attempts"] == 2
    with at_work(plant) as authority:
        with pytest.raises(KeyRevoked):  # nor can it be enrolled again
            request = enrolment.make_request("north", site.key, created_us=1)
            authority.enrol(request, fingerprint.of_key(site.key.public))
        found = authority.absorb(in_flight)
        assert (found.outcome, found.code) == ("parked", "revoked-key")
        assert authority.absorb(honest).outcome == "merged"
        before = fsck(plant.home)["state_hash"]
        looked, *_ = plant.drill(7, STOLEN="north", BUNDLE=id_of(late, view)[:16])
        assert "Nothing was made" in looked.out
        assert fsck(plant.home)["state_hash"] == before
        authority.outbox(SiteName("north"))  # whatever is asked next
        assert sound(plant)["attempts"] == 4
        plant.pulk("keys", "requalify", plant.home.root, "north", "--keep", id_of(in_flight, view),
                   "--out", plant.draft)  # fmt: skip
        assert plant.sign_and_take().version == 4
    with at_work(plant):
        assert sound(plant)["attempts"] == 6  # the forged one is still not among them
    left = [id_of(path, view) for path in plant.home.parked.iterdir()]
    assert set(left) == {id_of(forged, view)}


def test_drill_7_a_forged_bundle_with_a_kept_number_is_refused(plant: Plant) -> None:
    """A kept bundle is pinned by its id: another one of its number does not count."""
    with at_work(plant) as authority:
        site = plant.site(authority)
        held = held_at(authority, site, 4, plant)
        ones = results(site, held, 3)
        assert authority.absorb(ones[0]).outcome == "merged"
        site.sequence -= 3
        forged = site.result([site.play(held, held.leases[0], salt="forged")])
        plant.pulk("keys", "revoke", plant.home.root, "north", "--keep", "all",
                   "--out", plant.draft)  # fmt: skip
        trust = plant.sign_and_take()
        opens(plant, ones[0], trust)
        for path in (forged, *ones[1:]):
            with pytest.raises(RevokedKey):
                opens(plant, path, trust)
        found = authority.absorb(forged)
        assert (found.outcome, found.code) == ("parked", "revoked-key")
        sound(plant)


def test_drill_8_a_site_without_its_key_is_enrolled_again(plant: Plant) -> None:
    enrol_relay(plant)
    old = KeyFile.load(plant.relay / "site.key").public
    shutil.rmtree(plant.relay)
    *_, check = plant.drill(8)
    checked(check)
    new = KeyFile.load(plant.relay / "site.key", Role.SITE).public
    assert new != old
    assert new.hex()[:16] in check.out
    with at_work(plant) as authority:
        plant.submit(authority)
        made = authority.pack(SiteName("north"), 10)
        assert made is not None
        shutil.copy(authority.outgoing(SiteName("north"), made.id), plant.usb / f"{made.id}.pulk")
    assert relay_exchange.import_from(relay_home.open_home(plant.relay), plant.usb).bundles == 1


def test_drill_9_a_stolen_central_key_signs_nothing_more(plant: Plant) -> None:
    stolen = [plant.key("central.key"), plant.key("central-next.key")]
    with at_work(plant) as authority:
        site = plant.site(authority)
        held = held_at(authority, site, 2, plant)
        work = authority.outgoing(site.name, held.id)
        played = [site.play(held, lease) for lease in held.leases]
        assert authority.absorb(site.result(played)).outcome == "merged"
        before = sound(plant)["state_hash"]
    enrol_relay(plant)
    *_, check, _ = plant.drill(9)
    checked(check)
    trust = plant.trust()
    assert not {one.public for one in stolen} & set(trust.centrals_in_force())
    assert all(one.public not in {KeyFile.load(p).public for p in plant.home.root.glob("*.key")}
               for one in stolen)  # fmt: skip
    # The site hears of it by the stick, and from then on believes neither stolen key.
    relay_exchange.import_from(relay_home.open_home(plant.relay), plant.usb / "to-sites")
    assert site_trust(plant).version == 2
    opens(plant, work, site_trust(plant))  # kept: it came before
    for key in stolen:
        for changes in ({}, {"sequence": 99}, {"stream": StreamId(b"f" * 16), "sequence": 0}):
            with pytest.raises(RevokedKey):
                opens(plant, forged_work(plant, key, work, **changes), site_trust(plant))
    assert sound(plant)["state_hash"] == before  # central's own commits still verify
    with at_work(plant) as authority:
        plant.submit(authority)
        assert authority.pack(site.name, 10) is not None


def test_drill_10_a_lost_central_is_made_again_from_archive_trust_file_and_roots(
    plant: Plant,
) -> None:
    with at_work(plant) as authority:
        site = plant.site(authority)
        held = held_at(authority, site, 2, plant)
        assert authority.absorb(site.result([site.play(held, held.leases[0])])).outcome == "merged"
        shutil.copy(plant.home.trust, plant.folder / "backup" / "trust")  # an old one
        plant.rotate("--central")
        held_at(authority, site, 2, plant)
    before = sound(plant)
    shutil.copytree(plant.home.archive, plant.folder / "backup" / "archive")
    shutil.rmtree(plant.home.root)
    rebuilt, *_, check = plant.drill(10)
    assert before["state_hash"] in rebuilt.out
    checked(check)
    assert plant.trust().version == 3
    after = sound(plant)
    assert after["state_hash"] == before["state_hash"]
    with at_work(plant) as authority:
        assert authority.absorb(site.report(10)).outcome == "merged"
        made = authority.pack(site.name, 10) or authority.outbox(site.name)[-1]
        path = authority.outgoing(site.name, made.id)
        with open_bundle(path, TrustView(plant.trust()), audience=None, kinds=KINDS) as bundle:
            chain = bundle.manifest.trust
    assert trust_file.advance(site.trust.trust, chain).version == 3  # the site follows by itself


def test_drill_11_a_stolen_registrar_certifies_nobody(plant: Plant) -> None:
    enrol_relay(plant)
    stolen = KeyFile.load(plant.home.registrar_key).copy_to(plant.folder / "stolen.key")
    with at_work(plant) as authority:
        site = plant.site(authority, "south")
        held = held_at(authority, site, 4, plant)
        before, after = results(site, held, 2)
        assert authority.absorb(before).outcome == "merged"
        plant.drill(11)
        trust = plant.trust()
        assert stolen.public not in trust.registrars_in_force()
        assert authority.absorb(before).outcome == "merged"
        opens(plant, before, trust)
        found = authority.absorb(after)
        assert (found.outcome, found.code) == ("parked", "revoked-key")
        # A certificate that the thief issues himself gives no standing at all.
        thief = plant.site(authority, "thief")
        thief.certificate = certificate.issue(
            certificate.Certificate(SiteName("south"), thief.key.public, 1, 1), stolen
        )
        thief.name = SiteName("south")
        with pytest.raises(RevokedKey):
            opens(plant, thief.report(1), trust)
        # The site itself goes on with the same key and a new certificate.
        request = enrolment.make_request("south", site.key, created_us=1)
        answer = authority.enrol(request, fingerprint.of_key(site.key.public))
        words = fingerprint.of_roots(trust)
        site.certificate = enrolment.accept_answer(answer, words, site.key.public).certificate
        assert authority.absorb(site.report(10)).outcome == "merged"
    assert site_trust(plant).version == 2
    plant.pulk("keys", "check", plant.relay)
    sound(plant)


def test_drill_12_a_site_that_slept_through_three_rotations_catches_up(plant: Plant) -> None:
    enrol_relay(plant)
    for _ in range(3):
        plant.rotate("--central", "--registrar")
    assert plant.trust().version == 4
    with at_work(plant) as authority:
        plant.submit(authority)
    assert site_trust(plant).version == 1
    assert not set(site_trust(plant).centrals) & {plant.key("central.key").public}
    _, taken, shown, check = plant.drill(12)
    assert "1 bundles taken" in taken.out
    assert "version: 4" in shown.out
    checked(check)
    assert site_trust(plant).says_same(plant.trust())


def test_whoever_holds_a_certificate_of_a_revoked_registrar_is_not_enrolled(plant: Plant) -> None:
    with at_work(plant) as authority:
        site = plant.site(authority)
        request = enrolment.make_request("north", site.key, created_us=1)
        answer = authority.enrol(request, fingerprint.of_key(site.key.public))
    plant.pulk("keys", "revoke", plant.home.root, "registrar", "--keep", "none",
               "--out", plant.draft)  # fmt: skip
    trust = plant.sign_and_take()
    inside = canonical.decode(answer, SMALL_LIMITS)
    mixed = enrolment.make_answer(inside["certificate"], trust.raw)
    with pytest.raises((KeyRevoked, CertificateRefused)):
        enrolment.accept_answer(mixed, fingerprint.of_roots(trust), site.key.public)


def test_json_is_one_document_for_every_command_that_reports(
    plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ("rotate", plant.home.root, "--central", "--out", plant.draft),
        ("sign", plant.draft, "--key", plant.sticks / "root-1" / "root.key"),
        ("sign", plant.draft, "--key", plant.sticks / "root-2" / "root.key"),
        ("show", plant.draft),
        ("take", plant.home.root, plant.draft),
        ("check", plant.home.root),
        ("revoke", plant.home.root, "central", "--keep", "all"),
        ("new", plant.folder / "user.key", "--role", "user"),
        ("show", plant.folder / "user.key"),
    ):
        capsys.readouterr()
        assert plant.pulk("keys", *words, "--json") == 0
        assert isinstance(json.loads(capsys.readouterr().out), dict)
