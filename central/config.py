"""central.toml: what central's administrator decides. An unknown key is an error.

Each value can be set by a variable too: PULK_<SECTION>_<KEY>, for example PULK_HTTP_PORT.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bundle.errors import PulkError
from bundle.limits import BUNDLE_BYTES_MAX

NAME = "central.toml"
PREFIX = "PULK_"


class ConfigRefused(PulkError):
    """central.toml is unreadable, not TOML, or has an unknown key or a value out of bounds."""

    code = "config-refused"
    what = "{key}: {reason}"
    remedy = "correct that line or variable; nothing was changed"


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ArchiveSection(_Section):
    """Where bundles lie, and on how many devices before a site may delete one.

    `mirrors` are folders on other devices that get a copy at once. `url` is empty for the folder
    `archive`, `file:///folder` for another one that is there, or `s3://bucket/prefix`; `endpoint`
    the address of an S3 that is not Amazon's.
    """

    copies: Annotated[int, Field(ge=1, le=16)] = 1
    mirrors: tuple[Annotated[str, Field(pattern=r"^/")], ...] = ()
    url: Annotated[str, Field(pattern=r"^(s3://[^/]+(/.*)?|file:///[^?#%]+)?$")] = ""
    endpoint: Annotated[str, Field(pattern=r"^(https?://.+)?$")] = ""
    cache_bytes_max: Annotated[int, Field(ge=1)] = 10 << 30


class StoreSection(_Section):
    """Which database: a file in central's folder, or the PostgreSQL database of a URL."""

    url: Annotated[str, Field(max_length=4096, pattern=r"^$|^postgres(ql)?://")] = ""
    url_file: Annotated[str, Field(max_length=4096)] = ""  # holds the URL with its password


class PlannerSection(_Section):
    """How work is cut and for how long it is promised."""

    shard_tasks_max: Annotated[int, Field(ge=1, le=10_000)] = 200
    bundle_tasks_max: Annotated[int, Field(ge=1, le=10_000_000)] = 100_000
    lease_hours: Annotated[float, Field(gt=0, le=10 * 365 * 24)] = 48.0
    tasks_wanted_default: Annotated[int, Field(ge=0, le=10_000_000)] = 0
    bundle_datasets_max: Annotated[int, Field(ge=1, le=1000)] = 16
    horizon_hours: Annotated[float, Field(gt=0, le=366 * 24)] = 1.0
    filler: Annotated[float, Field(ge=0, le=10)] = 0.25
    lease_hours_min: Annotated[float, Field(gt=0, le=366 * 24)] = 1.0
    lease_hours_max: Annotated[float, Field(gt=0, le=10 * 365 * 24)] = 90 * 24.0


Weight = Annotated[float, Field(gt=0, le=1e6)]


class SharesSection(_Section):
    """Who gets how much of what is delivered; who is not named has weight 1.

    `users` are "group/user", or "user" for every group. `urgent_hours`: how long before a deadline
    a dataset begins to gain weight among those of its user; `age_doubles_hours`: after which it
    has twice the weight, eight times at most; 0: age decides between equals only.
    """

    half_life_hours: Annotated[float, Field(gt=0, le=10 * 365 * 24)] = 7 * 24.0
    gpu_as_cores: Annotated[float, Field(ge=0, le=10_000)] = 16.0
    urgent_hours: Annotated[float, Field(ge=0, le=366 * 24)] = 72.0
    age_doubles_hours: Annotated[float, Field(ge=0, le=10 * 365 * 24)] = 0.0
    groups: dict[str, Weight] = {}
    users: dict[str, Weight] = {}


class QuotaSection(_Section):
    """Limits of one user or group; 0 is none."""

    tasks_out: Annotated[int, Field(ge=0, le=10**9)] = 0
    core_hours: Annotated[float, Field(ge=0, le=1e12)] = 0.0


class QuotasSection(_Section):
    """Limits of everybody (`user`, `group`), and of some by name, which then hold instead."""

    period_days: Annotated[int, Field(ge=1, le=366)] = 30
    user: QuotaSection = QuotaSection()
    group: QuotaSection = QuotaSection()
    users: dict[str, QuotaSection] = {}
    groups: dict[str, QuotaSection] = {}


class HttpSection(_Section):
    """Where the server listens and what it takes at once. `port` 0: any free one, for tests."""

    host: Annotated[str, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65_535)] = 7855  # P-U-L-K on a telephone
    upload_bytes_max: Annotated[int, Field(ge=1, le=BUNDLE_BYTES_MAX)] = BUNDLE_BYTES_MAX
    partial_bytes_max: Annotated[int, Field(ge=0, le=2**50)] = BUNDLE_BYTES_MAX
    wait_s_max: Annotated[int, Field(ge=0, le=600)] = 50
    concurrent_uploads: Annotated[int, Field(ge=1, le=1024)] = 32
    site_uploads_max: Annotated[int, Field(ge=1, le=1024)] = 4
    connections_max: Annotated[int, Field(ge=16, le=1_000_000)] = 12_000
    address_connections_max: Annotated[int, Field(ge=0, le=1_000_000)] = 1_000
    asks_per_s_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    site_asks_per_s_max: Annotated[int, Field(ge=1, le=100_000)] = 50


RoleName = Literal["admin", "production", "user", "read-only"]


class OidcSection(_Section):
    """Which identity provider vouches for people; an empty `issuer`: none.

    `roles` says what the provider's roles are here; `role` is that of people who have none of them,
    and empty refuses those. `*_claim` name the claims, `a.b` one inside another.
    """

    issuer: Annotated[str, Field(max_length=1000, pattern=r"^(https?://.+)?$")] = ""
    client_id: Annotated[str, Field(max_length=255)] = ""
    scope: Annotated[str, Field(max_length=1000)] = "openid profile"
    name_claim: Annotated[str, Field(min_length=1, max_length=255)] = "preferred_username"
    roles_claim: Annotated[str, Field(min_length=1, max_length=255)] = "roles"
    groups_claim: Annotated[str, Field(min_length=1, max_length=255)] = "groups"
    roles: dict[str, RoleName] = {}
    role: RoleName | Literal[""] = ""
    token_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 12.0


class NotifySection(_Section):
    """Whom central tells how datasets are, and how; without a mail server and hosts nobody.

    `webhook_hosts` are `host`, `host:port` or `*.domain` for https, `http://host:port` for plain
    HTTP; `webhook_private`: they may lie behind the firewall. `mail_domains`: empty is any.
    """

    smtp_host: Annotated[str, Field(max_length=255)] = ""
    smtp_port: Annotated[int, Field(ge=1, le=65_535)] = 587
    smtp_tls: Literal["starttls", "tls", "none"] = "starttls"
    smtp_ca_file: Annotated[str, Field(max_length=4096)] = ""
    smtp_user: Annotated[str, Field(max_length=255)] = ""
    smtp_password_file: Annotated[str, Field(max_length=4096)] = ""
    mail_from: Annotated[str, Field(max_length=255)] = ""
    mail_domains: tuple[Annotated[str, Field(max_length=255)], ...] = ()
    webhook_hosts: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = ()
    webhook_private: bool = False
    every_s: Annotated[float, Field(ge=0.05, le=3600)] = 30.0
    keep_hours: Annotated[float, Field(gt=0, le=24 * 366)] = 48.0

    @property
    def is_on(self) -> bool:
        """Whether anybody can be told."""
        return bool(self.smtp_host or self.webhook_hosts)


class Config(_Section):
    """The whole file."""

    archive: ArchiveSection = ArchiveSection()
    store: StoreSection = StoreSection()
    planner: PlannerSection = PlannerSection()
    http: HttpSection = HttpSection()
    shares: SharesSection = SharesSection()
    quotas: QuotasSection = QuotasSection()
    oidc: OidcSection = OidcSection()
    notify: NotifySection = NotifySection()


def load(path: Path, environment: Mapping[str, str] | None = None) -> Config:
    """Read the file, then the variables; without a file the defaults hold.

    Raises ConfigRefused, which names the key or the variable.
    """
    value = _with_variables(_read(path), os.environ if environment is None else environment)
    try:
        return Config.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ConfigRefused(where=str(path), key=key, reason=first["msg"]) from error


def text_of(copies: int) -> str:
    """Return the text of a first central.toml."""
    planner, http, shares, quotas, oidc, notify = (
        PlannerSection(),
        HttpSection(),
        SharesSection(),
        QuotasSection(),
        OidcSection(),
        NotifySection(),
    )
    return f"""\
# What is commented out is the default. Variables win: PULK_<SECTION>_<KEY>.

[archive]
copies = {copies}  # devices that must hold a bundle before a site may delete it
# mirrors = []  # folders on other devices that get every bundle at once
# url = ""  # s3://bucket/prefix, or file:///folder, instead of the folder `archive`
# endpoint = ""  # the address of an S3 that is not Amazon's
# cache_bytes_max = {ArchiveSection().cache_bytes_max}  # of an S3 archive, in the folder

[store]
# url = ""  # "postgresql://USER@HOST/DATABASE"; the default is a file in this folder
# url_file = ""  # a file, mode 600, that holds such a URL with its password

[planner]
# shard_tasks_max = {planner.shard_tasks_max}  # tasks that one pilot claims at a time
# bundle_tasks_max = {planner.bundle_tasks_max}
# lease_hours = {planner.lease_hours}  # how long a site may go on starting them
# tasks_wanted_default = {planner.tasks_wanted_default}  # for sites that never reported
# bundle_datasets_max = {planner.bundle_datasets_max}
# horizon_hours = {planner.horizon_hours}  # for how long a site that is quick to ask holds work
# filler = {planner.filler}  # how much more than that, so that no node idles
# lease_hours_min = {planner.lease_hours_min}  # bounds of what is learned from a site's trips
# lease_hours_max = {planner.lease_hours_max}

[shares]
# half_life_hours = {shares.half_life_hours}  # delivered hours count half after so long
# gpu_as_cores = {shares.gpu_as_cores}
# urgent_hours = {shares.urgent_hours}  # before a deadline
# age_doubles_hours = {shares.age_doubles_hours}  # 0: age decides between equals only
# groups = {{ }}  # {{ neutrino = 3, cosmics = 1 }}
# users = {{ }}  # {{ alice = 2, "cosmics/bob" = 1 }}

[quotas]
# period_days = {quotas.period_days}
# user = {{ tasks_out = 0, core_hours = 0 }}  # of everybody; 0: no limit
# group = {{ tasks_out = 0, core_hours = 0 }}
# users = {{ }}  # {{ alice = {{ tasks_out = 10000 }} }}
# groups = {{ }}

[oidc]
# issuer = ""  # "https://id.example.org/realms/physics": `pulk login` is possible
# client_id = ""
# scope = "{oidc.scope}"
# name_claim = "{oidc.name_claim}"
# roles_claim = "{oidc.roles_claim}"  # a.b: b inside a
# groups_claim = "{oidc.groups_claim}"
# roles = {{ }}  # {{ "production-managers" = "production" }}
# role = ""  # of whoever has none of those; empty: they are refused
# token_hours = {oidc.token_hours}

[notify]
# smtp_host = ""  # a mail server: people who ask for it are told by mail
# smtp_port = {notify.smtp_port}
# smtp_tls = "{notify.smtp_tls}"  # tls, or none
# smtp_ca_file = ""  # certificates to trust beside the system's
# smtp_user = ""
# smtp_password_file = ""  # mode 600
# mail_from = ""
# mail_domains = []  # to which mail may go; empty: any
# webhook_hosts = []  # "hooks.example.org", "*.example.org", "http://10.0.0.5:8080"; no others
# webhook_private = false  # they may lie behind the firewall
# every_s = {notify.every_s}
# keep_hours = {notify.keep_hours}  # for how long a notice that nobody takes is tried again

[http]
# host = "{http.host}"  # put a TLS proxy in front before you open it to a network
# port = {http.port}  # 0: any free one, another at each start; the file `address` names it
# upload_bytes_max = {http.upload_bytes_max}
# partial_bytes_max = {http.partial_bytes_max}  # of uploads that broke off and wait for the rest
# wait_s_max = {http.wait_s_max}  # how long a site that asks for it waits for news; 0: not at all
# concurrent_uploads = {http.concurrent_uploads}  # bodies under way at once
# site_uploads_max = {http.site_uploads_max}  # of them, those of one site
# connections_max = {http.connections_max}
# address_connections_max = {http.address_connections_max}  # from one address; 0: no limit
# asks_per_s_max = {http.asks_per_s_max}  # requests for work that are answered in a second
# site_asks_per_s_max = {http.site_asks_per_s_max}  # of them, those of one site
"""


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigRefused(where=str(path), key="file", reason=reason) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigRefused(where=str(path), key="TOML", reason=str(error)) from error


def _with_variables(value: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the values with those of the environment laid over them."""
    merged = dict(value)
    for section, field in Config.model_fields.items():
        model = field.annotation
        assert isinstance(model, type) and issubclass(model, BaseModel)  # noqa: S101
        for key in model.model_fields:
            given = environment.get(f"{PREFIX}{section}_{key}".upper())
            if given is not None and isinstance(merged.setdefault(section, {}), dict):
                merged[section] = {**merged[section], key: given}
    return merged
