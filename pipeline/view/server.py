"""Server of the map: a page, the report, and tiles of the cube by titiler; nothing else of the folder."""

import math
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from rio_tiler.errors import TileOutsideBounds
from rioxarray.exceptions import NoDataInBounds
from starlette.middleware.trustedhost import TrustedHostMiddleware
from titiler.core.errors import add_exception_handlers
from titiler.core.factory import TilerFactory

from s2sharp_core import S2SharpError

from ..report.make import make_report
from ..storage.location import Location
from ..ui.html import asset, document
from .pictures import GentleStretch, Picture, PictureReader, spectrum
from .pictures import stretch as limits_of
from .request_limits import AT_ONCE, refusal
from .sources import Source, source_of

LOCAL = "127.0.0.1"
"""Listening address of the server, reachable only from this machine."""

# Seconds during which a report is reused, because making one takes time.
_FRESH = 60


class Tiles(TilerFactory):
    """The routes of titiler that read no more than a tile."""

    def register_routes(self) -> None:
        self.info()
        self.tilesets()
        self.tile()
        self.tilejson()
        self.point()


@lru_cache(maxsize=1)
def _report(out: Location, when: int) -> str:  # noqa: ARG001  (part of the cache's key)
    return make_report(out)


def app_of(out: Location) -> FastAPI:
    """Return the application that shows the run or the mosaic in ``out``.

    Errors: ``not-a-run``; ``other-run`` if another version wrote it.
    """
    source = source_of(out)
    app = FastAPI(
        title="s2sharp view", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_few_at_once
    )

    @app.middleware("http")
    async def bounded(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        why = refusal(request.url.path, request.query_params.multi_items(), request.headers)
        return JSONResponse({"detail": why}, 400) if why else await answer(request)

    # A page elsewhere whose own host name resolves to this address must not read the cube.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOCAL, "localhost"])
    picture = _asked(source)
    tiles = Tiles(
        reader=PictureReader,
        path_dependency=picture,
        process_dependency=_gentle,
        router_prefix="/cube",
        add_viewer=False,
    )
    app.include_router(tiles.router, prefix="/cube")
    add_exception_handlers(app, {TileOutsideBounds: 204, NoDataInBounds: 204})

    @app.exception_handler(S2SharpError)
    def refused(_: Request, error: S2SharpError) -> JSONResponse:
        return JSONResponse({"kind": error.kind, "detail": str(error)}, 404)

    @app.get("/", response_class=HTMLResponse)
    def page() -> str:
        style, script = (asset("s2sharp.view", f"view.{kind}") for kind in ("css", "js"))
        view, title = "s2sharp.view/view.html.j2", f"s2sharp: {out.name}"
        return document(view, style, script, reads="'self'", title=title, report=True)

    @app.get("/report.html", response_class=HTMLResponse)
    def report() -> str:
        return _report(out, int(time.time() // _FRESH))

    @app.get("/layers.json")
    def layers() -> dict[str, Any]:
        return source.layers()

    @app.get("/stretch.json")
    def limits(shown: Annotated[Picture, Depends(picture)]) -> list[tuple[float, float]]:
        return limits_of(shown)

    @app.get("/spectrum.json")
    def values(
        acquisition: str,
        lon: Annotated[float, Query(ge=-180, le=180)],
        lat: Annotated[float, Query(ge=-90, le=90)],
    ) -> dict[str, Any]:
        return spectrum(source.picture(acquisition, source.bands, delivered=True), lon, lat)

    return app


@asynccontextmanager
async def _few_at_once(_: FastAPI) -> AsyncIterator[None]:
    """Limit the work in threads, so that memory is limited."""
    current_default_thread_limiter().total_tokens = AT_ONCE
    yield


def _asked(source: Source) -> Callable[..., Picture]:
    def picture(
        acquisition: Annotated[str, Query(description="Id of the acquisition.")],
        band: Annotated[list[str], Query(description="ESA name; repeat for three colours.")],
        delivered: Annotated[
            bool, Query(description="Native pixels, at scales where they differ.")
        ] = False,
    ) -> Picture:
        return source.picture(acquisition, tuple(band), delivered=delivered)

    return picture


def _gentle(
    band: Annotated[list[str], Query()],
    stretch: Annotated[
        list[str] | None,
        Query(
            description="Dark and bright end, `0.01,0.4`, for each band; the same for all tiles."
        ),
    ] = None,
) -> GentleStretch | None:
    if stretch is None:
        return None
    try:
        limits = tuple((float(low), float(high)) for low, high in (x.split(",") for x in stretch))
    except ValueError:
        limits = ()
    if len(limits) != len(band) or not all(0 < high - low < math.inf for low, high in limits):
        raise HTTPException(400, "A stretch is two numbers for each band, the lower one first.")
    return GentleStretch(bands=tuple(band), limits=limits)


def listen(port: int) -> socket.socket:
    """Return a socket on this machine's own address; port 0 takes any free port.

    Error: ``bad-config`` if the port is in use.
    """
    try:
        return socket.create_server((LOCAL, port))
    except OSError as error:
        raise S2SharpError(
            "bad-config", f"Cannot listen on port {port}: {error}.", "Choose another --port, or 0."
        ) from error
