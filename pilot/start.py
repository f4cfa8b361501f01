"""The `__main__.py` of a pilot folder (`pulk relay pilot-folder`): all of a pilot in few files.

Beside it lie `modules`, one file with the compiled modules and their index, and `lib` with the
extension modules. Every module is one `pread` of an open file, so a thousand pilots that start at
once ask a shared filesystem for a handful of names and not for hundreds. Works from any place,
read-only, without installation; what else is installed is not looked at. This file must load in
any Python 3, so that another one is refused with a clear word.
"""

# Plain names here, not Path, which takes longer to load than the rest of this.
# ruff: noqa: PTH100, PTH118, PTH120

from __future__ import annotations

import marshal
import os
import sys
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from typing import Any

MAGIC = b"pulk pilot folder 1\n"
LENGTH_BYTES = 4
MODULES, LIBRARIES = "modules", "lib"
MODULE, PACKAGE, EXTENSION = 0, 1, 2
EXIT_REFUSED = 1


class Modules:
    """Finds and loads the modules of a pilot folder; comes before everything else that could."""

    def __init__(self, folder: str) -> None:
        """Open the folder. Raises OSError, or ValueError where it is damaged or of elsewhere."""
        self.folder = folder
        self._file = os.open(os.path.join(folder, MODULES), os.O_RDONLY | os.O_CLOEXEC)
        about, self._base = self._about()
        self.version, self._index = about["version"], about["index"]
        if about["suffix"] != EXTENSION_SUFFIXES[0]:
            raise ValueError(
                f"this pilot folder is for Pythons with {about['suffix']}, and {sys.executable} is "
                f"one with {EXTENSION_SUFFIXES[0]}; make one on a machine like this with "
                "`pulk relay pilot-folder`"
            )

    def find_spec(self, name: str, _path: Any = None, _target: Any = None) -> ModuleSpec | None:
        """Return where a module is, None for one that is not of the folder."""
        found = self._index.get(name)
        if found is None:
            return None
        kind, where = found[0], os.path.join(self.folder, LIBRARIES, found[1])
        if kind == EXTENSION:
            spec = ModuleSpec(name, ExtensionFileLoader(name, where), origin=where)
        else:
            loader: Any = self
            spec = ModuleSpec(name, loader, origin=where, is_package=kind == PACKAGE)
        spec.has_location = True
        return spec

    def _about(self) -> tuple[dict[str, Any], int]:
        """Return what the file says of itself, and where the modules begin."""
        head = os.pread(self._file, len(MAGIC) + LENGTH_BYTES, 0)
        size = int.from_bytes(head[len(MAGIC) :], "big")
        base = len(head) + size
        try:
            about = marshal.loads(os.pread(self._file, size, len(head)))  # noqa: S302  ours
            is_whole = os.fstat(self._file).st_size == base + about["size"]
        except (EOFError, ValueError, TypeError, KeyError):
            is_whole = False
        if not is_whole or not head.startswith(MAGIC):
            raise ValueError(f"{self.folder} is damaged, or of another version: make another")
        return about, base

    def create_module(self, _spec: ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: Any) -> None:
        """Run a module's code."""
        exec(self.get_code(module.__name__), module.__dict__)  # noqa: S102  what an import is

    def get_code(self, name: str) -> Any:
        """Return a module's code."""
        _, _, start, size = self._index[name]
        return marshal.loads(os.pread(self._file, size, self._base + start))  # noqa: S302  ours


def main(arguments: list[str]) -> None:
    """Run `pulk pilot`, or a slot or stager that it starts."""
    folder = os.path.dirname(os.path.abspath(__file__))
    try:
        modules: Any = Modules(folder)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"pulk: {error}\n")
        sys.exit(EXIT_REFUSED)
    others = ("site-packages", "dist-packages")
    sys.path[:] = [one for one in sys.path if one != folder and not one.endswith(others)]
    sys.meta_path.insert(0, modules)
    if arguments[:1] == ["slot"]:
        from pilot.slot import main as slot

        slot(arguments[1:])
    elif arguments[:1] == ["stager"]:
        from pilot.staging.stager import main as stager

        stager(arguments[1:])
    else:
        from bundle.cli.main import main as pulk

        pulk(["pilot", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
