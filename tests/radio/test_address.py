"""The address of the radio: believed if this site's key signed it, and else passed over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bundle import canonical
from bundle.ids import SiteName
from bundle.radio import address as addresses
from bundle.radio.address import Address, AddressRefused
from bundle.trust import certificate, signed
from bundle.trust.certificate import Certificate
from bundle.trust.keys import MemoryKey
from bundle.trust.signed import Signature, Signed
from bundle.wire.preauth import RADIO_TYPE, pae
from tests.relay.world import World

ADDRESS = Address(SiteName("north"), "tcp://10.0.0.7:5570", b"k" * 32, 7, (1, 1))


def test_an_address_is_read_as_it_was_signed(world: World) -> None:
    raw = addresses.encode(ADDRESS, world.home.signer, world.home.certificate)
    assert addresses.decode(raw, world.trust(), site="north") == ADDRESS


def test_every_altered_byte_is_refused(world: World) -> None:
    raw = addresses.encode(ADDRESS, world.home.signer, world.home.certificate)
    for at in range(len(raw)):
        altered = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises(AddressRefused):
            addresses.decode(altered, world.trust(), site="north")
    for size in range(len(raw)):
        with pytest.raises(AddressRefused):
            addresses.decode(raw[:size], world.trust(), site="north")


def test_another_sites_key_or_one_without_a_certificate_is_refused(world: World) -> None:
    thief = MemoryKey.generate()
    south = Certificate(SiteName("south"), thief.public, 2, 2)
    certified = certificate.issue(south, world.authority.registrar)
    with pytest.raises(AddressRefused, match="south"):
        said = addresses.encode(ADDRESS, thief, certified)
        addresses.decode(said, world.trust(), site="north")
    with pytest.raises(AddressRefused):  # under this site's certificate
        said = addresses.encode(ADDRESS, thief, world.home.certificate)
        addresses.decode(said, world.trust(), site="north")
    body = canonical.encode({"site": "north"})
    bare = Signature(thief.public, thief.sign(pae(RADIO_TYPE, body)))
    with pytest.raises(AddressRefused, match="certificate"):
        addresses.decode(signed.encode(Signed(body, (bare,))), world.trust())


@pytest.mark.parametrize("endpoint", ["inproc://x", "tcp://host", "ipc://relative", "tcp://a b:1"])
def test_only_addresses_of_a_network_or_a_host_are_taken(world: World, endpoint: str) -> None:
    odd = replace(ADDRESS, endpoint=endpoint)
    raw = addresses.encode(odd, world.home.signer, world.home.certificate)
    with pytest.raises(AddressRefused):
        addresses.decode(raw, world.trust())
