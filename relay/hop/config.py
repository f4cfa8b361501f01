"""hop.toml: the two ends that a hop carries between. An unknown key is an error."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from relay.carrier import address
from relay.carrier.address import Scheme
from relay.config import Seconds, SshSection
from relay.errors import ConfigRefused

NAME = "hop.toml"
KEY = "courier.key"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _address(text: str) -> str:
    address.parse(text)
    return text


Url = Annotated[str, AfterValidator(_address)]


class EndSection(_Section):
    """One end: an exchange folder, or towards central its own address with a pass of the site.

    `pass_file`, `ca`: relative to hop.toml.
    """

    url: Url
    pass_file: str = ""
    ca: str = ""
    timeout_s: Seconds = 30.0


class HopSection(_Section):
    """Who the hop is, in custody records; how much of its disk is kept free; what is told again.

    `again_s`: what was given to an end that still lacks it is brought there again after so long.
    """

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
    free_bytes_min: Annotated[int, Field(ge=0)] = 1 << 30
    again_s: Seconds = 6 * 3600.0


class HopConfig(_Section):
    """The whole file."""

    hop: HopSection
    site: EndSection
    central: EndSection
    ssh: SshSection = SshSection()

    @model_validator(mode="after")
    def _fits(self) -> HopConfig:
        if address.parse(self.site.url).scheme is Scheme.HTTP:
            raise ValueError("[site] url must be an exchange folder: file:// or ssh://")
        if address.parse(self.central.url).scheme is Scheme.HTTP and not self.central.pass_file:
            raise ValueError("[central] needs pass_file, made by `pulk relay pass`")
        return self


def load(folder: Path) -> HopConfig:
    """Read a hop's file. Raises ConfigRefused, which names the key."""
    path = folder / NAME
    try:
        value = tomllib.loads(path.read_text())
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigRefused(where=str(path), key="file", reason=reason) from error
    except ValueError as error:
        raise ConfigRefused(where=str(path), key="TOML", reason=str(error)) from error
    try:
        return HopConfig.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigRefused(where=str(path), key=key, reason=first["msg"]) from error


def text_of(name: str) -> str:
    """Return the text of a first hop.toml."""
    return f"""\
[hop]
name = "{name}"

[site]  # the exchange folder on the side of the site
url = "ssh://you@login.example.org/scratch/you/exchange"  # or file:///FOLDER

[central]  # central itself, or another exchange folder on the way to it
url = "https://central.example.org"
pass_file = "courier.pass"  # made at the site: pulk relay pass DIR KEY OUT

# [ssh]
# login = "person"  # only over a connection that you opened; "key": by keys too
# control = "~/.ssh/pulk-%r@%h"
"""
