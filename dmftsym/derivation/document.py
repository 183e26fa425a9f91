"""Derived equations as plain text, LaTeX or a self-contained HTML page."""

import re
from html import escape

from latex2mathml.converter import convert

from dmftsym.language.display import Displayed


def document(title: str, records: tuple[Displayed, ...], form: str) -> str:
    """One or several records in the wanted format; HTML uses MathML, which browsers draw without scripts."""
    if form == "text":
        return "\n\n".join(r.text() for r in records)
    if form == "latex":
        return "\n\n".join(text for r in records if (text := _latex(r)))
    body = "\n".join(_html(r) for r in records)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>"
    )


def _latex(record: Displayed) -> str:
    """A heading, and one display an equation, between which pages can break."""
    lines = [f"\\[ {line} \\]" for line in record.latex_lines()]
    return "\n".join([*([rf"\section*{{{record.title}}}"] if record.title and lines else []), *lines])


def _html(record: Displayed) -> str:
    if hasattr(record, "notes"):
        lines = [f"<pre>{escape(record.text())}</pre>"] if record.text() else []
    else:
        lines = [f"<p>{convert(line, display='block')}</p>" for line in record.latex_lines()]
    heading = [f"<h2>{record.title}</h2>"] if record.title and lines else []
    return "\n".join([*heading, *lines, *([svg_of(record.figure())] if hasattr(record, "figure") else [])])


def svg_of(figure) -> str:
    """A picture as an SVG element for an HTML page, the same text on every run."""
    text = figure._repr_svg_()
    element = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return re.sub(r' xmlns(:\w+)?="[^"]*"', "", element).strip()  # HTML knows the namespaces


def code_page(title: str, text: str, form: str) -> str:
    """Source code or a listing in the wanted format."""
    if form == "latex":
        return f"\\begin{{verbatim}}\n{text}\n\\end{{verbatim}}"
    if form == "html":
        return (
            f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
            f"<body>\n<h1>{escape(title)}</h1>\n<pre>{escape(text)}</pre>\n</body>\n</html>"
        )
    return text
