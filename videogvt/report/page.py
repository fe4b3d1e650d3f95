"""One self-contained HTML page: text, tables and pictures in a single file that opens offline.

Pictures are embedded as base64, the style sheet is inline, and nothing is loaded from anywhere, so the file can be
mailed, archived beside a checkpoint and opened years later.
"""

import base64
import html
import pathlib
from collections.abc import Iterable, Sequence

MAX_BYTES = 10_000_000  # a page larger than this does not travel by mail

STYLE = """
:root { color-scheme: light; --ink: #1c2430; --soft: #5d6878; --line: #dfe4ea; --tint: #f5f7fa; --mark: #1f6f54; }
* { box-sizing: border-box; }
body { margin: 0; background: #fff; color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 40px 24px 80px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; }
h2 { font-size: 21px; margin: 48px 0 10px; padding-top: 14px; border-top: 1px solid var(--line); }
h3 { font-size: 16px; margin: 22px 0 6px; overflow-wrap: anywhere; }
p { max-width: 78ch; margin: 8px 0; }
.lead { color: var(--soft); font-size: 17px; }
.note, figcaption { color: var(--soft); font-size: 14px; }
.verdict { margin: 22px 0; padding: 16px 20px; border-left: 5px solid var(--mark); background: var(--tint);
  font-size: 18px; max-width: none; }
.verdict.short { --mark: #b3541e; }
code, pre { font: 13.5px/1.5 ui-monospace, "SF Mono", Menlo, Consolas, monospace; }
pre { background: var(--tint); padding: 12px 14px; overflow-x: auto; border-radius: 6px; max-height: 480px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14.5px; font-variant-numeric: tabular-nums; margin: 12px 0; }
th, td { padding: 6px 12px; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; max-width: 9em; }
th:first-child, td:first-child { text-align: left; }
.strong { font-weight: 650; color: var(--ink); background: var(--tint); }
.row { display: flex; flex-wrap: wrap; gap: 22px; align-items: flex-start; margin: 12px 0; }
figure { margin: 0; max-width: 100%; }
img { max-width: 100%; height: auto; display: block; border: 1px solid var(--line); border-radius: 4px; }
img.plain { border: 0; }
figcaption { margin-top: 5px; max-width: 60ch; }
"""


def escape(text: object) -> str:
    """Any value as text that is safe inside HTML."""
    return html.escape(str(text))


def paragraph(text: str, kind: str = "") -> str:
    """A paragraph of plain text; ``kind`` is a style class such as ``lead`` or ``note``."""
    return f'<p class="{kind}">{escape(text)}</p>' if kind else f"<p>{escape(text)}</p>"


def heading(text: str) -> str:
    """A heading inside a section."""
    return f"<h3>{escape(text)}</h3>"


def code(text: str) -> str:
    """A block of preformatted text."""
    return f"<pre>{escape(text)}</pre>"


def html_picture(data: bytes, alt: str, caption: str = "", *, frame: bool = True) -> str:
    """A PNG, WebP or GIF given by its bytes, embedded; ``alt`` describes it to those who cannot see it."""
    kinds = {b"\x89PNG": "png", b"RIFF": "webp", b"GIF8": "gif"}
    if data[:4] not in kinds:
        raise ValueError(f"A picture starts with the bytes {data[:4]!r}; PNG, WebP and GIF can be shown.")
    source = f"data:image/{kinds[data[:4]]};base64,{base64.b64encode(data).decode()}"
    image = f'<img src="{source}" alt="{escape(alt)}"{"" if frame else " class=plain"}>'
    return f"<figure>{image}{f'<figcaption>{escape(caption)}</figcaption>' if caption else ''}</figure>"


def row(*blocks: str) -> str:
    """Blocks side by side, wrapping where the window is narrow."""
    return f'<div class="row">{"".join(blocks)}</div>'


def html_table(columns: Sequence[str], rows: Iterable[Sequence[object]], strong: int | None = None) -> str:
    """A table whose first column is text and whose column ``strong`` stands out."""
    kinds = [' class="strong"' if place == strong else "" for place in range(len(columns))]
    head = "".join(f"<th{kind}>{escape(column)}</th>" for column, kind in zip(columns, kinds))
    lines = ["".join(f"<td{kind}>{escape(cell)}</td>" for cell, kind in zip(cells, kinds)) for cells in rows]
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def section(title: str, *blocks: str) -> str:
    """A headed section made of blocks of HTML."""
    return f"<section><h2>{escape(title)}</h2>{''.join(blocks)}</section>"


def document(title: str, *blocks: str) -> str:
    """The whole page."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><main><h1>{escape(title)}</h1>{''.join(blocks)}</main></body></html>\n"
    )


def write_page(path: pathlib.Path, page: str) -> pathlib.Path:
    """Writes a page as one file of at most ``MAX_BYTES`` bytes; a larger one is a ``ValueError``."""
    data = page.encode()
    if len(data) > MAX_BYTES:
        raise ValueError(
            f"{path}: the page would take {len(data) / 1e6:.1f} MB, more than {MAX_BYTES / 1e6:.0f} MB. "
            "Show fewer clips, fewer frames or a smaller scale."
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
