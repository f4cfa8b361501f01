"""What one commit of central's own says: submissions, controls, pins, access, people, lost sites.

Its bundle signs it.

Epoch and number of the commit stand in the manifest. `remembered` are answers to idempotency keys,
so that a crash between the commit and the database never lets a request act twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bundle import canonical, shape
from bundle.ids import DatasetId, Epoch, SiteName, parse_attempt, parse_site
from bundle.intervals import IntervalSet
from bundle.limits import LEASE_LIMITS
from central.core import folk
from central.core.authorise import Visibility
from central.core.facts import Control, ControlWord, Pin
from central.core.folk import NOBODY, Folk

CHUNK = "facts"  # kind and name of its chunk


@dataclass(frozen=True, slots=True)
class Submission:
    """A dataset whose document, and its co-signature, travel as chunks of the same commit."""

    dataset: DatasetId
    digest: bytes
    at_us: int
    user: bytes = b""  # the key that signed the submission bundle; empty where none did


@dataclass(frozen=True, slots=True)
class Access:
    """Whose a dataset is from now on, by name, and who sees it.

    `told`: by which commit, see `told`; of several the newest word counts.
    """

    dataset: DatasetId
    owner: str
    group: str
    visibility: Visibility
    told: bytes


@dataclass(frozen=True, slots=True)
class Remembered:
    """An answer that was given to an idempotency key."""

    token: int
    key: str
    request: bytes
    answer: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """The facts of one commit."""

    submissions: tuple[Submission, ...] = ()
    controls: tuple[tuple[DatasetId, Control], ...] = ()
    pins: tuple[tuple[DatasetId, Pin], ...] = ()
    remembered: tuple[Remembered, ...] = ()
    presumed: tuple[SiteName, ...] = ()  # sites presumed lost with all they hold
    access: tuple[Access, ...] = ()
    folk: Folk = NOBODY

    def count(self) -> int:
        """Return how many facts it holds."""
        facts = (self.submissions, self.controls, self.pins, self.presumed, self.access)
        return sum(len(one) for one in facts) + self.folk.count()


def told(epoch: Epoch, number: int) -> bytes:
    """Return when a commit was made: the greatest is the newest."""
    return epoch.counter.to_bytes(8, "big") + number.to_bytes(8, "big") + epoch.nonce


def encode(commit: Commit) -> bytes:
    """Return the raw bytes of a commit's chunk."""
    value = {
        "submissions": [
            [one.dataset, one.digest, one.at_us, one.user] for one in commit.submissions
        ],
        "controls": [
            [dataset, one.word.value, _regions_to_wire(one), *([one.document] * bool(one.document))]
            for dataset, one in commit.controls
        ],
        "pins": [[one.generation, one.attempt, one.outcome] for _, one in commit.pins],
        "remembered": [[one.token, one.key, one.request, one.answer] for one in commit.remembered],
    }
    rare = {
        "presumed": list(commit.presumed),
        "access": [
            [one.dataset, one.owner, one.group, one.visibility.value] for one in commit.access
        ],
        "people": folk.to_wire(commit.folk) if commit.folk.count() else [],
    }
    return canonical.encode(value | {name: rows for name, rows in rare.items() if rows})


def decode(raw: bytes, epoch: Epoch, number: int) -> Commit:
    """Read a commit's chunk; epoch and number are its manifest's.

    Raises NotCanonical, WrongShape, MalformedId.
    """
    value = shape.Reader.of(canonical.decode(raw, LEASE_LIMITS, where=CHUNK), CHUNK)
    return Commit(
        submissions=tuple(_submission(row) for row in value.readers("submissions")),
        controls=tuple(_control(row, epoch, number) for row in value.readers("controls")),
        pins=tuple(_pin(row, epoch, number) for row in value.readers("pins")),
        remembered=tuple(
            Remembered(row.count(0), row.text(1), row.bytes(2), row.bytes(3))
            for row in value.readers("remembered")
        ),
        presumed=tuple(
            parse_site(name) for name in (value.texts("presumed") if value.has("presumed") else ())
        ),
        access=tuple(
            _access(row, told(epoch, number))
            for row in (value.readers("access") if value.has("access") else ())
        ),
        folk=folk.from_wire(value.reader("people"), told(epoch, number))
        if value.has("people")
        else NOBODY,
    )


def _regions_to_wire(control: Control) -> Any:
    if control.regions is None:
        return None
    return [[step, jobs.to_wire()] for step, jobs in control.regions]


def _submission(row: shape.Reader) -> Submission:
    user = row.bytes(3) if len(row.value) > 3 else b""  # commits before 2 had no such column
    return Submission(DatasetId(row.text(0)), row.bytes(1, 32), row.count(2), user)


def _access(row: shape.Reader, at: bytes) -> Access:
    word = row.text(3)
    if word not in set(Visibility):
        raise shape.WrongShape(where=row.where, expected="a visibility", found=repr(word[:40]))
    return Access(DatasetId(row.text(0)), row.text(1), row.text(2), Visibility(word), at)


def _control(row: shape.Reader, epoch: Epoch, number: int) -> tuple[DatasetId, Control]:
    word = row.text(1)
    if word not in set(ControlWord):
        raise shape.WrongShape(where=row.where, expected="a control", found=repr(word[:40]))
    regions = None
    if row.get(2) is not None:
        regions = tuple((one.count(0), _jobs(one)) for one in row.readers(2))
    document = row.bytes(3, 32) if len(row.value) > 3 else b""  # an edit alone names one
    if (word == ControlWord.EDIT) != bool(document):
        expected = "a document's digest, with an edit and with nothing else"
        raise shape.WrongShape(where=row.where, expected=expected, found=word)
    control = Control(ControlWord(word), regions, epoch, number, document)
    return DatasetId(row.text(0)), control


def _jobs(row: shape.Reader) -> IntervalSet:
    return IntervalSet.from_wire([run.count(0), run.count(1)] for run in row.readers(1))


def _pin(row: shape.Reader, epoch: Epoch, number: int) -> tuple[DatasetId, Pin]:
    name = row.text(1)
    task = parse_attempt(name).task
    pin = Pin(task.step, task.job, row.count(0), name, row.bytes(2, 32), epoch, number)
    return task.dataset, pin
