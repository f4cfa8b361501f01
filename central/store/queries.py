"""SQL by name: each file of `sql/` holds statements after `-- name: <name>` lines."""

from __future__ import annotations

from importlib.resources import files


def schema() -> str:
    """Return the statements that make an empty database."""
    return files("central.store").joinpath("sql", "schema.sql").read_text()


def migration(version: int) -> str:
    """Return the statements that bring a database of a version to the next one."""
    return files("central.store").joinpath("sql", f"from-{version}.sql").read_text()


def queries(name: str) -> dict[str, str]:
    """Return the statements of one file by their names."""
    text = files("central.store").joinpath("sql", f"{name}.sql").read_text()
    found: dict[str, str] = {}
    for part in text.split("-- name: ")[1:]:
        title, _, statement = part.partition("\n")
        found[title.strip()] = statement.strip()
    return found
