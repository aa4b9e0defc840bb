"""Figures as inline SVG in the colours of the page, light or dark."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from functools import wraps
from io import StringIO
from typing import TYPE_CHECKING, Any, ParamSpec
from zlib import crc32

from anyjepa.errors import printable
from anyjepa.report.markup import Html, tag

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")

# Each colour becomes a CSS variable of that name, whose light and dark values are in style.css. The colours of the
# series are those of Okabe and Ito (2008), which suit all kinds of colour vision, darkened for contrast on white.
INK, MUTED, RULE, SURFACE = "#1b2126", "#5d6872", "#dde1e5", "#fefefd"
SERIES = ("#0067a9", "#c44f00", "#007a5a", "#9a4b92", "#8f6a00", "#3d8fc0", "#6b6f73", "#b3315d")
_VARIABLES = {
    INK: "ink", MUTED: "muted", RULE: "rule", SURFACE: "surface",
    **{colour: f"series-{number}" for number, colour in enumerate(SERIES, 1)},
}  # fmt: skip
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "anyjepa",
    "text.parse_math": False,
    "font.size": 12,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.unicode_minus": False,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 0,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "path.simplify_threshold": 0.3,
}


def draw(alt: str, make: Callable[[], Figure]) -> Html:
    """Call `make` with the style of the page active, and return its figure as inline SVG with the alt text `alt`."""
    import matplotlib

    out = StringIO()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # the browser has a font for it
        page = make()
        page.patch.set_visible(False)
        page.savefig(out, format="svg", dpi=72, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
        width, height = (float(side) * 72 for side in page.get_size_inches())
    return _inline(out.getvalue(), alt, width, height)


def styled(make: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorate a function so that it draws a figure in the style of the report."""

    @wraps(make)
    def in_style(*arguments: P.args, **options: P.kwargs) -> Figure:
        import matplotlib

        with matplotlib.rc_context(_STYLE):
            return make(*arguments, **options)

    return in_style


def blank(width: int, height: int) -> Figure:
    """An empty figure; sizes in pixels."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), dpi=72)


def axes(page: Figure, left: int, bottom: int = 36, right: int = 12, top: int = 10) -> Axes:
    """Add axes that fill the figure up to these margins in pixels."""
    width, height = page.get_size_inches() * 72
    return page.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def _inline(svg: str, alt: str, width: float, height: float) -> Html:
    body = svg[svg.index("<defs>") : svg.rindex("</svg>")]  # drop the prologue, which refers to external resources
    body = re.sub(r"<style.*?</style>", "", body, flags=re.DOTALL)  # it would apply to the whole page
    body = re.sub(r"font-family: [^;\"]*; ?", "", body)  # text inherits the font of the page
    body = re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), body)  # round to 0.01 pixels
    prefix = f"f{crc32((alt + body).encode()):x}-"  # ids must be unique on the page
    body = re.sub(r'\bid="', f'id="{prefix}', body)
    body = re.sub(r'(xlink:href="#|url\(#)', lambda match: match[0].replace("xlink:", "") + prefix, body)
    for colour, name in _VARIABLES.items():
        body = body.replace(colour, f"var(--{name})")
    body = printable(body, keep="\n")  # contains names from files
    box = f"0 0 {width:.0f} {height:.0f}"
    return tag(
        "svg", tag("title", alt), Html(body), role="img", viewBox=box, aria_label=alt, style=f"width:{width:.0f}px"
    )
