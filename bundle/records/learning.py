"""What a dataset wants done with what its attempts teach about requests: frozen values."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from bundle import shape


class Policy(StrEnum):
    """What becomes of learned requests."""

    OFF = "off"  # nothing is shown
    OFFER = "offer"  # they are shown
    APPLY = "apply"  # they are what first tries ask for, in leases made from now on


@dataclass(frozen=True, slots=True)
class Learning:
    """How sure a learned request must be, and how far it may go.

    It is a bound that with a confidence of `confidence_milli / 1000` is not below the quantile
    `quantile_milli / 1000` of what successes used, times `margin_milli / 1000`; never less than
    `least_milli / 1000` of what the document asks, never more than `most_milli / 1000` of it.
    """

    policy: Policy = Policy.OFFER
    quantile_milli: int = 990
    confidence_milli: int = 950
    margin_milli: int = 1_100
    least_milli: int = 250
    most_milli: int = 4_000


DEFAULT = Learning()
_BOUNDS = {
    "quantile_milli": (500, 999),
    "confidence_milli": (500, 999),
    "margin_milli": (1_000, 10_000),
    "least_milli": (1, 1_000),
    "most_milli": (1_000, 1_000_000),
}


def problem(learning: Learning) -> str:
    """Return which value is out of its bounds, or nothing."""
    for name, (least, most) in _BOUNDS.items():
        value = getattr(learning, name)
        if not least <= value <= most:
            return f"{name} is {value}, allowed is {least} to {most}"
    return ""


def to_wire(learning: Learning) -> dict[str, str | int]:
    """Return what differs from `DEFAULT`, by name."""
    pairs = ((one.name, getattr(learning, one.name)) for one in fields(Learning))
    changed = {name: value for name, value in pairs if value != getattr(DEFAULT, name)}
    return {name: str(value) if name == "policy" else int(value) for name, value in changed.items()}


def from_wire(value: shape.Reader) -> Learning:
    """Read it. What is unknown, out of bounds or the default is refused. Raises WrongShape."""
    names = value.fields()
    if not names <= _BOUNDS.keys() | {"policy"}:
        raise shape.WrongShape(where=value.where, expected="known fields", found="others")
    word = value.text("policy") if "policy" in names else str(DEFAULT.policy)
    if word not in set(Policy):
        expected = " or ".join(Policy)
        raise shape.WrongShape(where=f"{value.where}.policy", expected=expected, found=word[:40])
    numbers = {name: value.count(name) for name in names - {"policy"}}
    learning = Learning(Policy(word), **numbers)
    if to_wire(learning).keys() != names:
        expected = "only what differs from the default"
        raise shape.WrongShape(where=value.where, expected=expected, found="a default")
    if found := problem(learning):
        raise shape.WrongShape(where=value.where, expected="values in bounds", found=found)
    return learning
