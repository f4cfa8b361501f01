"""Private keys lie in their files and nowhere else, whatever drills are run."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest

from bundle.trust.keys import KeyFile
from tests.keys.plant import Plant

pytestmark = pytest.mark.sweeps

SECRETS_MIN = 20


def forms(secret: bytes) -> set[bytes]:
    """How a secret might be written somewhere."""
    plain = base64.b64encode(secret), base64.urlsafe_b64encode(secret)
    text = {secret.hex().encode(), secret.hex().upper().encode(), *plain}
    return {secret, *text, *(one.rstrip(b"=") for one in text), repr(secret).encode()}


def test_twenty_planted_secrets_show_nowhere_while_the_drills_run(tmp_path: Path) -> None:
    plant = Plant(tmp_path)
    planted: dict[str, bytes] = {}

    def collect() -> None:
        planted.update((hashlib.sha256(s).hexdigest(), s) for s in plant.secrets().values())

    plant.drill(1)
    collect()
    for number in range(6):
        plant.run(f"pulk keys new $USB/user-{number}.key --role user")
        plant.run(f"pulk keys show $USB/user-{number}.key --json")
    authority = plant.authority()
    plant.submit(authority)
    authority.close()
    plant.run("pulk relay init $RELAY --site north")
    plant.run('pulk central enrol $CENTRAL $RELAY/request.enrol --fingerprint "$SITE_WORDS"'
              " --out $USB/answer")  # fmt: skip
    plant.run('pulk relay accept $RELAY $USB/answer --root "$ROOT_WORDS"')
    lost = KeyFile.load(plant.sticks / "root-3" / "root.key").public.hex()[:12]
    for number in (3, 3, 4, 9, 11, 5):
        collect()
        plant.drill(number, LOST_KEY=lost)
        collect()
    plant.run("pulk central fsck $CENTRAL")
    plant.run("pulk central doctor $CENTRAL")
    token = plant.home.token.read_bytes().strip()
    secrets = [*planted.values(), token]
    assert len(secrets) >= SECRETS_MIN
    assert len(plant.seen) > SECRETS_MIN
    where = {"process": b"\0".join(plant.seen), "output": "\0".join(plant.said).encode()}
    for path in tmp_path.rglob("*"):
        if path.is_file() and path.suffix != ".key" and path != plant.home.token:
            where[str(path)] = path.read_bytes()
    found = [
        (name, number)
        for name, content in where.items()
        for number, secret in enumerate(secrets)
        if any(form in content for form in forms(secret))
    ]
    assert not found
    assert any(str(plant.home.root).encode() in one for one in plant.seen)  # it did look
    assert where[str(plant.home.database)].startswith(b"SQLite")
