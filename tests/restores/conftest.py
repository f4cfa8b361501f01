"""A second device for backups."""

from __future__ import annotations

from tests.restores.world import other_device

__all__ = ["other_device"]
