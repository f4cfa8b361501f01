"""How IceProd calls a program or a class of a module: the words of one line of shell."""

from __future__ import annotations

import json
import re
from typing import Any

from central.iceprod.expand import FILLED_BY_SHELL
from central.iceprod.holes import unescaped

KEPT_VARIABLES = (
    "OPENCL_VENDOR_PATH",
    "http_proxy",
    "TMP",
    "TMPDIR",
    "_CONDOR_SCRATCH_DIR",
    "CUDA_VISIBLE_DEVICES",
    "COMPUTE",
    "GPU_DEVICE_ORDINAL",
    "HOME",
)
OF_SHELL = re.compile(rf"\$\{{?(?:{'|'.join(FILLED_BY_SHELL)})\b")
FOUND_BY_SHELL = (
    f"sh -c 'export -p' | grep -E ' ({'|'.join(FILLED_BY_SHELL)})=' > .module_env || :\n"
    ". ./.module_env"
)
CLEARED = (
    *("env", "-i", "PYTHONNOUSERSITE=1", "SHELL=/bin/sh"),
    *(f"{name}=${name}" for name in KEPT_VARIABLES),
)


def program(source: str) -> list[str]:
    """Return the words that run a file, by what its name ends with."""
    if source.endswith(".py"):
        return ["python", source]
    if source.endswith(".sh"):
        return ["/bin/sh", source]
    return [source if source.startswith("/") else f"./{source}"]


def running_class(package: str, name: str, args: Any) -> list[str]:
    """Return a program that sets the parameters of a class and runs it, as a here-document."""
    lines = (
        "<<____HERE",
        "import json",
        f"from {package} import {name}",
        f"args = json.loads('''{as_json(args)}''')",
        f"obj = {name}()",
        "for k,v in args.items():",
        "    obj.SetParameter(k, v)",
        "obj.Execute({})",
        "____HERE\n",
    )
    return ["python", "-", "\n".join(lines)]


def option(key: object, value: Any) -> str:
    """Return an argument with a name; null: the name alone."""
    dashed = f"-{key}" if len(str(key)) <= 1 else f"--{key}"
    return dashed if value is None else f"{dashed}={shown(value)}"


def shown(value: Any) -> str:
    """Return what Python's print shows of a value."""
    return value if isinstance(value, str) else unescaped(str(value))


def as_json(value: Any) -> str:
    """Return JSON as IceProd writes it."""
    return unescaped(json.dumps(value, separators=(",", ":"))).replace("</", "<\\/")
