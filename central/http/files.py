"""Outputs that travelled home, out of the archived bundle that brought them."""

from __future__ import annotations

from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from bundle.trust.trust_file import TrustView
from bundle.wire import files
from bundle.wire.manifest import Kind
from bundle.wire.read import open_bundle
from central.core.authorise import Action
from central.home import upload_place
from central.http.route import V1, Asked, Policy, Route

KINDS = frozenset({Kind.RESULT, Kind.DATA})


class _Passing(web.FileResponse):
    """A file that is gone once it was sent."""

    def __init__(self, path: Path) -> None:
        headers = {"Content-Type": "application/octet-stream", "Cache-Control": "no-transform"}
        super().__init__(path, headers=headers)
        self._own = path

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        try:
            return await super().prepare(request)  # sends all of it
        finally:
            self._own.unlink(missing_ok=True)


async def send(asked: Asked) -> web.StreamResponse:
    """Send one output by its SHA-256; all of it is verified before the first byte leaves."""
    name = asked.part("sha256")
    home = asked.service.home
    place = await asked.budget.run(asked.questions.file, bytes.fromhex(name))
    copy = upload_place(home)
    try:
        await asked.budget.run(_copy, place.bundle_path, place.place, home.trust, copy)
    except BaseException:
        copy.unlink(missing_ok=True)
        raise
    return _Passing(copy)


def _copy(bundle: Path, place: int, trust: Path, to: Path) -> None:
    with open_bundle(bundle, TrustView.load(trust), audience=None, kinds=KINDS) as opened:
        file = files.file_at(opened.manifest, place)
        assert file is not None  # noqa: S101  central noted where it begins
        files.copy_file(opened, file, to)


FILE = f"{V1}/files/{{sha256:[0-9a-f]{{64}}}}"
ROUTES = (Route("GET", FILE, Policy(Action.FILE_READ), lambda b: b.files, send),)
