"""The container image that a step's command runs in, as a dataset names it.

An absolute path is an image file or an unpacked folder at the site; anything else is a reference,
as `docker://python:3.12`, that a site maps to an image of its own, for pilots have no network.
What a step does not name is left out on the wire.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bundle import shape
from bundle.dataset.asks import Requires

if TYPE_CHECKING:
    from bundle.dataset.spec import Step

CONTAINER = "container"
CONTAINER_CHARS_MAX = 512
DIGESTS_FOLDER = "images"  # in a spool's `data`: digests of images, by what they were made of
IMAGE_WORD = "image:"  # what a site lists before the reference of an image that it has


def to_wire(container: str) -> dict[str, str]:
    """Return the text under `container`, or nothing where none is named."""
    return {CONTAINER: container} if container else {}


def from_wire(step: shape.Reader) -> str:
    """Read the image that a step names. Raises WrongShape."""
    if not step.has(CONTAINER):
        return ""
    found = step.text(CONTAINER)
    if not found:  # it is not written then, so that equal means equal bytes
        where = f"{step.where}.{CONTAINER}"
        raise shape.WrongShape(where=where, expected="an image, or nothing", found="empty text")
    return found


def problem(container: str) -> str:
    """Return why a text names no image; empty where it does."""
    if len(container) > CONTAINER_CHARS_MAX:
        return f"it is longer than {CONTAINER_CHARS_MAX} characters"
    if not container.isprintable() or len(container.split()) != 1:
        return "it holds spaces or control characters"
    if container.startswith("-"):
        return "it begins like an option"
    if "," in container or ".." in container.split("/"):
        return "it holds a comma or the parent of a folder"
    return ""


def required(step: Step) -> Requires:
    """Return what a step requires, with the word of the image where its reference must be mapped.

    Whether a path is there is seen on the node alone.
    """
    if not step.container or step.container.startswith("/"):
        return step.requires
    word = IMAGE_WORD + step.container
    return replace(step.requires, software=(*step.requires.software, word))


def words(images: Any) -> tuple[str, ...]:
    """Return the words that a site lists for the references that it maps."""
    return tuple(sorted(IMAGE_WORD + reference for reference in images))
