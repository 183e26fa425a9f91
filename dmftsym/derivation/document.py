"""Derived equations as plain text, LaTeX or a self-contained HTML page."""

import re
from html import escape

from latex2mathml.converter import convert

from dmftsym.language.display import Displayed, latex_block


def document(title: str, records: tuple[Displayed, ...], form: str) -> str:
    """One or several records in the wanted format; HTML uses MathML, which browsers draw without scripts."""
    if form == "text":
        return "\n\n".join(r.text() for r in records)
    if form == "latex":
        return "\n\n".join(f"\\[\n{latex_block(r.latex_lines())}\n\\]" for r in records)
    lines = [line for r in records if not hasattr(r, "notes") for line in r.latex_lines()]
    body = "\n".join(f"<p>{convert(line, display='block')}</p>" for line in lines)
    body += "".join(f"\n<pre>{escape(r.text())}</pre>" for r in records if hasattr(r, "notes"))
    body += "".join(f"\n{svg_of(r.figure())}" for r in records if hasattr(r, "figure"))
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>"
    )


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
