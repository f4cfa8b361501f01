"""Retry rules and what is to be learned: from the document's words to the values, and back."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from bundle.records import learning as learnings
from bundle.records import rules
from bundle.records.learning import Learning, Policy
from bundle.records.rules import RetryRules
from central.document.form import LearningForm, RetryForm

# What people call the fields of `RetryRules` that have another name there.
_RETRY = {
    "backoff": "backoff_ms",
    "backoff_factor": "backoff_milli",
    "backoff_max": "backoff_ms_max",
    "jitter": "jitter_milli",
    "memory_factor": "memory_milli",
    "walltime_factor": "walltime_milli",
    "disk_factor": "disk_milli",
    "memory_max": "memory_mib_max",
    "walltime_max": "walltime_ms_max",
    "disk_max": "disk_bytes_max",
}


def retry_rules(of_all: RetryForm, of_step: RetryForm) -> RetryRules:
    """Return the rules of one step; whether they are in bounds is checked later."""
    said: dict[str, int] = {}
    for form in (of_all, of_step):
        for name, value in form.model_dump(exclude_none=True).items():
            said[_RETRY.get(name, name)] = value
    return RetryRules(**said)


def learning(form: LearningForm) -> Learning:
    """Return what a document says of learned requests."""
    numbers = (form.quantile, form.confidence, form.margin, form.least, form.most)
    return Learning(Policy(form.policy), *numbers)


def render_retry(said: RetryRules) -> dict[str, Any]:
    """Return the document's values of rules: those that are not the default."""
    names = {field: name for name, field in _RETRY.items()}
    made: dict[str, Any] = {}
    for one in fields(RetryRules):
        value = getattr(said, one.name)
        if value != getattr(rules.DEFAULT, one.name):
            made[names.get(one.name, one.name)] = _written(one.name, value)
    return made


def render_learning(said: Learning) -> dict[str, Any]:
    """Return the document's values: those that are not the default."""
    return {
        name.removesuffix("_milli"): value / 1000 if isinstance(value, int) else value
        for name, value in learnings.to_wire(said).items()
    }


def _written(field: str, value: int) -> Any:
    if field.endswith("_milli"):
        return value / 1000
    units = {"_ms": "ms", "_ms_max": "ms", "_mib_max": "MiB", "_bytes_max": "B"}
    return next((f"{value}{unit}" for end, unit in units.items() if field.endswith(end)), value)
