"""What a crash between the archive and the database leaves."""

from __future__ import annotations

import shutil
from collections.abc import Callable

from tests.central.conftest import Central


def forget(central: Central, act: Callable[[], object]) -> object:
    """Act, then lose what the database kept of it but not the archive, as a crash would."""
    saved = central.folder / "saved.sqlite"
    central.authority.close()
    shutil.copy(central.home.database, saved)
    central.reopen()
    answer = act()
    central.authority.close()
    shutil.copy(saved, central.home.database)
    central.reopen()
    return answer
