"""The carrier that relay.toml names, and the exchange folder at an address."""

from __future__ import annotations

from pathlib import Path

from bundle.ids import BundleId
from relay import custody, state
from relay.carrier import address
from relay.carrier.address import Address, Scheme
from relay.carrier.contract import Carrier
from relay.carrier.exchange import ExchangeCarrier
from relay.carrier.folder import Folder, NearFolder
from relay.carrier.http import HttpCarrier, Standing
from relay.carrier.laid import Laid
from relay.carrier.ssh import FarFolder, Reach
from relay.config import SshSection
from relay.home import Home


def carrier(home: Home) -> Carrier | None:
    """Return the carrier; None where bundles travel by `export` and `import`. Connects nowhere."""
    central = home.config.central
    if not central.url:
        return None
    to = address.parse(central.url)
    if to.scheme is Scheme.HTTP:
        return http(home)
    held = frozenset(one.id for one in custody.every_held(home.spool))

    def is_done(bundle: BundleId) -> bool:
        return state.is_seen(home.spool, bundle)

    return ExchangeCarrier(
        folder(to, home.config.ssh, central.timeout_s),
        home.tmp,
        Laid(state.folder(home.spool) / "laid", home.tmp),
        is_done=is_done,
        is_held=held.__contains__,
    )


def http(home: Home) -> HttpCarrier:
    """Return the carrier to central's own address."""
    central = home.config.central
    return HttpCarrier(
        central.url,
        Standing(home.site, home.signer, home.certificate),
        central.timeout_s,
        parts=home.tmp,
        ca=(home.folder / central.ca) if central.ca else None,
    )


def folder(to: Address, ssh: SshSection, timeout_s: float) -> Folder:
    """Return the exchange folder at an address."""
    if to.scheme is Scheme.FILE:
        return NearFolder(Path(to.path))
    return FarFolder(
        Reach(
            host=to.host,
            path=to.path,
            user=to.user,
            port=to.port,
            by_person=ssh.login == "person",
            control=ssh.control,
            config=ssh.config,
            timeout_s=timeout_s,
        )
    )
