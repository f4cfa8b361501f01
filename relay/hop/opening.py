"""A hop's folder made and opened."""

from __future__ import annotations

from pathlib import Path

from bundle.spool import publish
from bundle.trust import certificate, courier
from bundle.trust.keys import KeyFile, Role
from relay.carrier import address, opening
from relay.carrier.address import Scheme
from relay.carrier.folder import Folder
from relay.carrier.http import HttpCarrier, Standing
from relay.errors import AlreadyMade, ConfigRefused
from relay.hop import config as configs
from relay.hop.config import EndSection, HopConfig
from relay.hop.hold import Hold
from relay.hop.walk import Hop


def make(folder: Path, name: str) -> str:
    """Make a hop's folder with its key; return the public key, for `pulk relay pass`.

    Raises AlreadyMade, KeyFileRefused.
    """
    if (folder / configs.NAME).exists():
        raise AlreadyMade(where=str(folder))
    publish.make_folder(folder)
    folder.chmod(publish.FOLDER_MODE)
    key = KeyFile.create(folder / configs.KEY, Role.COURIER)
    publish.write_file(folder, folder / configs.NAME, configs.text_of(name).encode())
    return key.public.hex()


def open_hop(folder: Path) -> Hop:
    """Open a hop. Raises ConfigRefused, KeyFileRefused."""
    folder = folder.absolute()
    config = configs.load(folder)
    site = opening.folder(address.parse(config.site.url), config.ssh, config.site.timeout_s)
    return Hop(
        hold=Hold(folder, config.hop.name),
        site=site,
        central=_central(folder, config),
        central_where=config.central.url,
        free_bytes_min=config.hop.free_bytes_min,
        again_s=config.hop.again_s,
    )


def _central(folder: Path, config: HopConfig) -> Folder | HttpCarrier:
    end = config.central
    to = address.parse(end.url)
    if to.scheme is not Scheme.HTTP:
        return opening.folder(to, config.ssh, end.timeout_s)
    return HttpCarrier(
        end.url,
        _standing(folder, end),
        end.timeout_s,
        parts=folder / "tmp",
        ca=(folder / end.ca) if end.ca else None,
    )


def _standing(folder: Path, end: EndSection) -> Standing:
    """Return in whose name requests are made: a file holds the site's certificate and pass."""
    path = folder / end.pass_file
    try:
        raw = path.read_bytes()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigRefused(where=str(path), key="central.pass_file", reason=reason) from error
    certified, given = courier.unwrap(raw, where=str(path))
    key = KeyFile.load(folder / configs.KEY, Role.COURIER)
    if courier.read(given, where=str(path)).key != key.public:
        reason = "it was made for another key than this hop's"
        raise ConfigRefused(where=str(path), key="central.pass_file", reason=reason)
    return Standing(certificate.read(certified).site, key, certified, given)
