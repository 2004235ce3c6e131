"""The Pareto explorer: one HTML page without network, from a study's document.

The assets stand in `dashboards/` at the top of the repository; in the wheel, that folder is
`autopeft/dashboards`. The scripts are put into one module in the order of `SCRIPTS`, so that what
one declares the next ones see, and nothing else does.
"""

import json
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from autopeft.domain.errors import AutopeftError

SCRIPTS = (
    "dom",
    "study",
    "limits",
    "plot",
    "copy",
    "front",
    "compare",
    "search",
    "effects",
    "maps",
    "table",
    "main",
)


def explorer_page(document: dict[str, Any], *, live: str = "") -> str:
    """The page (about 5 MB: plotly is in it).

    live: address of the document that the page asks again, of the same server; "": it is finished.
    """
    from plotly.offline import get_plotlyjs

    folder = assets()
    script = "\n".join((folder / "js" / f"{name}.js").read_text("utf-8") for name in SCRIPTS)
    parts = {
        "/*STYLE*/": (folder / "explorer.css").read_text("utf-8"),
        "/*PLOTLY*/": get_plotlyjs(),
        "/*DOCUMENT*/": json_for_html(document),
        "/*LIVE*/": json_for_html(live),
        "/*SCRIPT*/": script,
    }
    page = (folder / "explorer.html").read_text("utf-8")
    pieces = []
    for mark, text in parts.items():  # in the order of the page: no text is searched for marks
        before, page = page.split(mark, 1)
        pieces += [before, text]
    return "".join([*pieces, page])


def json_for_html(value: Any) -> str:
    r"""JSON that is safe inside a script element: `<`, `>` and `&` as `\u003c`.

    So no text of it can end the element (`</script>`) or begin a comment (`<!--`).
    """
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def assets() -> Traversable:
    """The folder of the page's parts.

    Raises:
        AutopeftError: it is not there: the installation is not whole.
    """
    package = files("autopeft")
    for folder in (package / "dashboards", package / ".." / "dashboards"):
        if (folder / "explorer.html").is_file():
            return folder
    raise AutopeftError(
        "the explorer needs the folder dashboards of autopeft, which is not there: install again"
    )
