"""What the API tells of a dataset's needs of others."""

from __future__ import annotations

from central.http.shapes import Shape, Text


class Need(Shape):
    """What a step needs of another dataset; who may not read that sees its id alone.

    `state`: met, waiting, open (for more jobs), changed (it lacks that step or output), gone,
    hidden.
    """

    step: str
    dataset: str
    of_step: str
    jobs: str
    inputs: list[dict[str, str]]
    name: Text
    done: int | None
    tasks: int | None
    state: str


class Needs(Shape):
    """What a dataset needs of others."""

    dataset: str
    needs: list[Need]
