"""``s2sharp view``."""

from typing import Annotated

import typer

from ..storage.location import place
from ..ui.terminal import check_extras, console, told


def view(
    out: Annotated[str, typer.Argument(help="The folder or URL of a run or a mosaic.")],
    *,
    port: Annotated[int, typer.Option(help="Port; 0: any free one.", min=0, max=65535)] = 0,
) -> None:
    """View a cube: a map and the report, served to this machine alone until Ctrl-C.

    The map shows every acquisition in true colour, short-wave infrared or one band, also during a run. Other programs find
    tiles under `/cube/tiles/WebMercatorQuad/{z}/{x}/{y}.png?acquisition=ID&band=B12&rescale=0,0.4`.

    Needs `pip install 's2sharp[view]'`.
    """
    with told("Closed."):
        check_extras(
            ("titiler.core", "uvicorn"),
            "The map",
            "Install it (`pip install 's2sharp[view]'`), or use `s2sharp report`, which does not need it.",
        )
        import uvicorn

        from ..view.server import LOCAL, app_of, listen

        app = app_of(place(out))
        with listen(port) as listener:
            console.print(f"http://{LOCAL}:{listener.getsockname()[1]}/   (Ctrl-C ends it)")
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
            server.run(sockets=[listener])
