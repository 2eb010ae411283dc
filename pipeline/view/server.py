"""The server of the map: a page, the report, and tiles of the cube by titiler; of the folder it gives nothing else."""

import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Annotated, Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pyproj import Transformer
from rio_tiler.errors import TileOutsideBounds
from rioxarray.exceptions import NoDataInBounds
from starlette.middleware.trustedhost import TrustedHostMiddleware
from titiler.core.errors import add_exception_handlers
from titiler.core.factory import TilerFactory

from s2sharp_core import BANDS, S2SharpError

from ..execution.status import cube_status
from ..planning.frozen import read_plan
from ..planning.items import with_acquisitions
from ..planning.plan import Plan
from ..report.make import make_report
from ..storage.files import version
from ..storage.location import Location
from ..ui.html import asset, document
from .bounds import AT_ONCE, refusal
from .delivered import Delivered
from .pictures import Picture, PictureReader, spectrum, stretch

__all__ = ["LOCAL", "app_of", "listen"]

LOCAL = "127.0.0.1"
"""Where the server listens: nobody but this machine can ask it."""

# Seconds that a report is given again; making one takes some.
_FRESH = 60
_COMPOSITES = {  # the first is shown first: what sharpening adds is not seen in true colour
    "Short-wave infrared (B12 B8A B04)": ("B12", "B8A", "B04"),
    "True colour (B04 B03 B02)": ("B04", "B03", "B02"),
    "Red edge (B07 B06 B05)": ("B07", "B06", "B05"),
    "Short-wave infrared (B12 B11 B8A)": ("B12", "B11", "B8A"),
    "Near infrared (B08 B04 B03)": ("B08", "B04", "B03"),
}


class Tiles(TilerFactory):
    """Of titiler's routes those that read no more than a tile."""

    def register_routes(self) -> None:
        self.info()
        self.tilesets()
        self.tile()
        self.tilejson()
        self.point()


@dataclass(frozen=True)
class _Run:
    """What the server knows of the run in ``out``; the plan is read again when it was written anew."""

    out: Location
    delivered: Delivered = field(default_factory=Delivered)

    @property
    def plan(self) -> Plan:
        return _plan(self.out, version(self.out / "run.json"))

    def picture(self, acquisition: str, bands: tuple[str, ...], *, delivered: bool) -> Picture:
        """Bands by ESA name of an acquisition by its id: names of the plan, and no paths."""
        plan = self.plan
        found = next((a for a in plan.present if a.id == acquisition), None)
        if found is None or not set(bands) <= set(plan.config.bands) or not bands:
            raise HTTPException(404, "The cube has no such acquisition, or not these bands.")
        whole = cube_status(plan) != "writing"
        native = self.delivered if delivered else None
        return Picture(self.out, plan.layout(found.epsg), found, bands, whole, native)


@lru_cache(maxsize=2)
def _plan(out: Location, written: str) -> Plan:  # noqa: ARG001  (part of the cache's key)
    return with_acquisitions(read_plan(out))


@lru_cache(maxsize=1)
def _report(out: Location, when: int) -> str:  # noqa: ARG001  (part of the cache's key)
    return make_report(out)


def app_of(out: Location) -> FastAPI:
    """The application that shows the run in ``out``.

    Raises
    ------
    S2SharpError
        ``not-a-run``; ``other-run`` when another version wrote it.
    """
    read_plan(out)  # raises now, not in a browser
    run = _Run(out)
    app = FastAPI(
        title="s2sharp view", docs_url=None, redoc_url=None, openapi_url=None, lifespan=_few_at_once
    )

    @app.middleware("http")
    async def bounded(
        request: Request, answer: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        why = refusal(request.url.path, request.query_params.multi_items(), request.headers)
        return JSONResponse({"detail": why}, 400) if why else await answer(request)

    # A page elsewhere that a name of its own leads here must not read the cube.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[LOCAL, "localhost"])
    picture = _asked(run)
    tiles = Tiles(
        reader=PictureReader, path_dependency=picture, router_prefix="/cube", add_viewer=False
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
        return _layers(run.plan)

    @app.get("/stretch.json")
    def limits(shown: Annotated[Picture, Depends(picture)]) -> list[tuple[float, float]]:
        return stretch(shown)

    @app.get("/spectrum.json")
    def values(
        acquisition: str,
        lon: Annotated[float, Query(ge=-180, le=180)],
        lat: Annotated[float, Query(ge=-90, le=90)],
    ) -> dict[str, Any]:
        return spectrum(run.picture(acquisition, run.plan.config.bands, delivered=True), lon, lat)

    return app


@asynccontextmanager
async def _few_at_once(_: FastAPI) -> AsyncIterator[None]:
    """Of what is done in threads, so little at a time that memory is bounded."""
    current_default_thread_limiter().total_tokens = AT_ONCE
    yield


def _asked(run: _Run) -> Callable[..., Picture]:
    def picture(
        acquisition: Annotated[str, Query(description="Its id.")],
        band: Annotated[list[str], Query(description="By ESA name; repeat for three colours.")],
        delivered: Annotated[bool, Query(description="Native pixels, where they show.")] = False,
    ) -> Picture:
        return run.picture(acquisition, tuple(band), delivered=delivered)

    return picture


def _layers(plan: Plan) -> dict[str, Any]:
    """What can be looked at: datatakes with their acquisitions, (W, S, E, N) of each, E
    beyond 180 across the antimeridian; bands, one or three together.
    """
    takes: dict[str, list[dict[str, Any]]] = {}
    for acquisition in sorted(plan.present, key=lambda a: a.datetime, reverse=True):
        layout = plan.layout(acquisition.epsg)
        to_degrees = Transformer.from_crs(layout.epsg, 4326, always_xy=True)
        cells = layout.area & acquisition.box
        west, south, east, north = to_degrees.transform_bounds(*layout.lattice.bounds(cells))
        bounds = west, south, east + 360 * (east < west), north
        about = {"id": acquisition.id, "bounds": bounds}
        label = f"{acquisition.datetime[:16].replace('T', ' ')}  {acquisition.take.split('_')[0]}"
        takes.setdefault(f"{acquisition.take}|{label}", []).append(about)
    bands = plan.config.bands
    together = {name: some for name, some in _COMPOSITES.items() if set(some) <= set(bands)}
    return {
        "takes": [
            {"label": k.partition("|")[2], "acquisitions": some} for k, some in takes.items()
        ],
        "bands": {**together, **{band: (band,) for band in bands}},
        "delivered": True,
        "gsd": {band: BANDS[band].gsd for band in bands},
    }


def listen(port: int) -> socket.socket:
    """A socket on this machine's own address; port 0: any that is free.

    Raises
    ------
    S2SharpError
        ``bad-config`` when the port is taken.
    """
    try:
        return socket.create_server((LOCAL, port))
    except OSError as error:
        raise S2SharpError(
            "bad-config", f"Cannot listen on port {port}: {error}.", "Choose another --port, or 0."
        ) from error
