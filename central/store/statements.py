"""SQL by name, one text for every engine: each file of `sql/` holds statements after name lines.

A name line is `-- name: <name> <types of one row>`. `?` marks a value. What engines do differently
stands in braces, at most once in a statement:

- `{rows}`: the many rows to insert, of the types that the name line gives;
- `{pairs}`, `{numbers}`, `{digests}`: a table of the keys asked for, with columns `a` and `b`, `n`,
  or `digest`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

KEYS = {"pairs": ("bigint", "bigint"), "numbers": ("bigint",), "digests": ("bytea",)}


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement. `kind`: what stands in its braces; `before`: how many values stand first."""

    name: str
    text: str
    types: tuple[str, ...]  # of one row, or of one key
    kind: str = ""
    before: int = 0

    def filled(self, table: str) -> str:
        """Return the text with something in place of the braces."""
        return self.text.replace(f"{{{self.kind}}}", table) if self.kind else self.text


def statements(name: str) -> dict[str, Statement]:
    """Return the statements of one file of `sql/` by their names."""
    text = files("central.store").joinpath("sql", f"{name}.sql").read_text()
    found: dict[str, Statement] = {}
    for part in text.split("-- name: ")[1:]:
        title, _, body = part.partition("\n")
        one = _statement(title.split(), body.strip())
        if found.setdefault(one.name, one) is not one:
            raise ValueError(f"{name}.sql names {one.name} twice")
    return found


def schema(engine: str) -> str:
    """Return the statements that make an empty database of an engine."""
    return files("central.store").joinpath(engine, "schema.sql").read_text()


def migration(engine: str, version: int) -> str:
    """Return the statements that bring a database of a version to the next one."""
    return files("central.store").joinpath(engine, f"from-{version}.sql").read_text()


def split(text: str) -> list[str]:
    """Return the single statements of a schema or a migration."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return [part.strip() for part in "\n".join(lines).split(";\n") if part.strip(" ;\n")]


def _statement(title: list[str], text: str) -> Statement:
    name, *types = title
    for kind in ("rows", *KEYS):
        before, brace, _ = text.partition(f"{{{kind}}}")
        if brace:
            return Statement(name, text, tuple(types) or KEYS[kind], kind, before.count("?"))
    return Statement(name, text, tuple(types))
