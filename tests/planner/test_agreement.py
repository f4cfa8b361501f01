"""What `pulk why` says and what the planner does agree, whatever the site and the datasets are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from bundle.dataset.asks import Account
from bundle.dataset.spec import Dataset
from bundle.ids import Task
from bundle.records.profile import UNKNOWN
from central.config import Config, QuotaSection, QuotasSection
from central.core.facts import ControlWord
from tests.central.conftest import Central
from tests.central.test_why import ROOMY
from tests.planner.test_bundles import bring, get, mixed, one, tell
from tests.planner.test_matching import profiled, requests, requirements

WILL_GO = {"next", "share"}
accounts = st.builds(
    Account,
    st.sampled_from(["alice", "bob"]),
    st.sampled_from(["g", "h"]),
    st.integers(-20, 20),
    st.just(0),
    st.sampled_from([(), (), (), ("north",), ("south",)]),
    st.sampled_from([(), (), (), (), ("north",)]),
)


sites = st.sampled_from([UNKNOWN, ROOMY, None]).flatmap(
    lambda known: profiled if known is None else st.just(known)
)


@st.composite
def documents(draw: st.DrawFn) -> Dataset:
    account, jobs = draw(accounts), draw(st.integers(1, 5))
    if draw(st.booleans()):
        return replace(mixed(jobs), account=account)
    made = replace(one("one", jobs), account=account)
    if draw(st.booleans()):
        return made
    request, requires = draw(requests), draw(requirements)
    asked = replace(
        request,
        cpu_milli=request.cpu_milli + 1,
        memory_mib=request.memory_mib + 1,
        walltime_ms=request.walltime_ms + 1,
        gpu_milli=request.gpu_milli or 1,
    )
    return replace(made, steps=(replace(made.steps[0], request=asked, requires=requires),))


@pytest.mark.sweeps
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_what_is_said_to_go_goes_and_what_is_said_to_wait_waits(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    central = Central(tmp_path_factory.mktemp("agree"))
    if data.draw(st.booleans()):
        tasks_out = data.draw(st.integers(1, 12))
        central.config = Config(quotas=QuotasSection(group=QuotaSection(tasks_out=tasks_out)))
        central.reopen()
    site, profile = central.site(), data.draw(sites)
    sets = [central.submit(data.draw(documents())) for _ in range(data.draw(st.integers(1, 5)))]
    for dataset in sets:
        if data.draw(st.integers(0, 5)) == 0:
            central.authority.control(
                dataset, ControlWord.SUSPEND, None, None, idempotency_key=dataset, token_id=1
            )
    for _ in range(2):
        tell(central, site, data.draw(st.sampled_from([0, 1000, 1000])), site=profile)
        before = {dataset: said(central, dataset) for dataset in sets}
        held = get(central, site)
        for dataset in sets:
            agree(central, before[dataset], has_quota=central.config.quotas != QuotasSection())
        for one_held in held:
            bring(central, site, one_held)
    central.authority.close()


def said(central: Central, dataset: Any) -> dict[Task, str]:
    steps = central.authority.counts(dataset)["steps"]
    tasks = [Task(dataset, 0, step["step"]) for step in steps]
    return {task: str(central.authority.why(task)["reason"]) for task in tasks}


def agree(central: Central, before: dict[Task, str], *, has_quota: bool) -> None:
    for task, reason in before.items():
        event(reason)
        verdict = central.authority.why(task)["verdict"]
        if reason in WILL_GO:
            # The quota may be used up by others of the same bundle; nothing else may stop it.
            assert verdict == "leased" or has_quota, (reason, central.authority.why(task))
        elif reason not in {"parents", "leased", "not-fetched", "done"}:
            assert verdict != "leased", reason
