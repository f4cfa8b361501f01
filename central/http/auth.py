"""Who asks, and whether they may: a site by its signature, a person by a bearer token."""

from __future__ import annotations

import re
from dataclasses import replace

from aiohttp import hdrs

from bundle.ids import DatasetId, parse_dataset_id
from central.core.authorise import Action, Decision, Principal, Resource, Role, Scope, decide
from central.errors import Forbidden, Unauthorised, UnknownDataset
from central.http.route import Asked, Of, Policy, denial
from central.http.shared import NOBODY, asking, goes_on
from central.tokens import UnknownToken

_BEARER = re.compile(r"(?i:Bearer) +([A-Za-z0-9_\-.~+/=]{16,256})")
NUMBER_MAX = 2**63 - 1


async def admitted(asked: Asked, policy: Policy) -> Asked:
    """Return the request with its sender, who may do what the policy is about.

    People are looked up in the route's own budget, sites in `checks`. What somebody may not see is
    answered as what does not exist. Raises Unauthorised, Forbidden, UnknownDataset, UnknownToken,
    TooManyRequests, and what the authority raises for a wrong signature.
    """
    asking.set(NOBODY)
    goes_on.set(False)
    if policy.action is None:
        return asked
    asked = replace(asked, principal=await (_site(asked) if policy.is_signed else _person(asked)))
    asking.set(asked.by.name)
    return await _decided(asked, policy)


async def still(asked: Asked, policy: Policy) -> Asked:
    """Return a request that goes on for long, with its sender as they are now. Raises as before."""
    found = await asked.budget.run(asked.questions.who, _bearer(asked))
    return await _decided(replace(asked, principal=found.principal), policy)


async def _decided(asked: Asked, policy: Policy) -> Asked:
    assert policy.action is not None  # noqa: S101  open routes have no sender
    if decide(asked.by, policy.action) is not Decision.ALLOWED:
        raise Forbidden(where=asked.request.path, reason=denial(asked.by, policy.action))
    if policy.of is Of.NOTHING:
        return asked
    resource = await _resource(asked, policy.of)
    match decide(asked.by, policy.action, resource):
        case Decision.ALLOWED:
            return asked
        case Decision.HIDDEN:
            raise UnknownDataset(dataset=asked.part("dataset"))
        case Decision.FORBIDDEN:
            raise _forbidden(asked, policy, resource)


def has_credentials(asked: Asked) -> bool:
    """Return whether the sender claims to be somebody."""
    return bool(asked.request.headers.get(hdrs.AUTHORIZATION))


def _forbidden(asked: Asked, policy: Policy, of: Resource) -> Forbidden | UnknownToken:
    if policy.of is Of.TOKEN and of.owner != asked.by.name:
        return UnknownToken(number=int(asked.part("number")))
    if policy.action is Action.EXCHANGE:
        reason = f"the request is signed by site {asked.site}"
    else:
        assert policy.action is not None  # noqa: S101  open routes forbid nothing
        reason = denial(asked.by, policy.action)
    return Forbidden(where=asked.request.path, reason=reason)


async def _resource(asked: Asked, of: Of) -> Resource:
    match of:
        case Of.DATASET:
            dataset: DatasetId = parse_dataset_id(asked.part("dataset"))
            return await asked.budget.run(asked.questions.resource, dataset)
        case Of.SITE:
            return Resource(site=asked.part("site"))
        case Of.USER:
            return Resource(owner=asked.part("name"))
        case Of.TOKEN:
            number = int(asked.part("number"))
            if number > NUMBER_MAX:
                raise UnknownToken(number=number)
            return await asked.budget.run(asked.questions.token_resource, number)
        case Of.NOTHING:
            return Resource()


def _bearer(asked: Asked) -> str:
    every = asked.request.headers.getall(hdrs.AUTHORIZATION, [])
    given = _BEARER.fullmatch(every[0]) if len(every) == 1 else None  # of two, whose counts?
    if given is None:
        raise Unauthorised(where=asked.request.path)
    return given[1]


async def _person(asked: Asked) -> Principal:
    found = await asked.budget.run(asked.questions.who, _bearer(asked))
    asked.service.rates.take(found.principal.name, found.limits.requests_per_minute)
    return found.principal


async def _site(asked: Asked) -> Principal:
    request = asked.request
    header = request.headers.get(hdrs.AUTHORIZATION, "")
    path = request.rel_url.raw_path
    check = asked.authority.check_site_request
    site = await asked.service.budgets.checks.run(check, header, request.method, path)
    return Principal(f"site {site}", Role.SITE, frozenset({Scope.EXCHANGE}), site=site)
