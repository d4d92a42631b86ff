"""How Sphinx builds these pages; ``make docs`` runs it, strictly."""

import logging
import re
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel
from sphinx.util.typing import stringify_annotation

project = "ropeleak"
release = version = version_of("ropeleak")
copyright = "the ropeleak maintainers"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist", "dollarmath"]
myst_heading_anchors = 3

html_theme = "furo"
html_title = f"ropeleak {release}"
default_role = "py:obj"

autodoc_default_options = {"exclude-members": "model_config"}
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
python_maximum_signature_line_length = 88

SHORT = {
    stringify_annotation(kind, "smart"): name
    for name, kind in (
        ("ArrayLike", ArrayLike), ("NDArray[float64]", NDArray[np.float64]),
        ("NDArray[int64]", NDArray[np.int64]), ("NDArray[Any]", NDArray[Any]),
    )
}  # fmt: skip
"""Types that say less when they are written out."""


def shortened(text: str) -> str:
    """Return types as they stand in the code: no modules, none of pydantic's bounds."""
    for long, short in SHORT.items():
        text = text.replace(long, short)
    text = re.sub(r"~?typing\.Annotated\[([\w.~]+), FieldInfo\(.*?\]\)\]", r"\1", text)
    return re.sub(
        r"~?\b(?:collections|os|pathlib|ropeleak|typing|xarray)(?:\.\w+)*\.(\w+)", r"\1", text
    )


def short_signature(
    app: Any,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    """Shorten types, and leave out the constructor of a spec: its fields are tabled."""
    if what == "class" and issubclass(obj, BaseModel):
        return "(**fields)", None
    if signature is None:
        return None
    return shortened(signature), returns and shortened(returns)


def default(value: Any) -> str:
    """Return a default as one would write it."""
    if isinstance(value, BaseModel) and value == type(value)():
        return f"{type(value).__name__}()"
    if isinstance(value, tuple):
        return f"({', '.join(map(default, value))}{',' * (len(value) == 1)})"
    return repr(value)


def with_fields(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Add a table of a spec's fields, their types and defaults."""
    if what != "class" or not issubclass(obj, BaseModel):
        return
    rows = [("Field", "Type", "Default")]
    for field, info in obj.model_fields.items():
        kind = shortened(stringify_annotation(info.annotation, "smart"))
        value = "" if info.is_required() else f"``{default(info.default)}``"
        rows.append((f"``{field}``", f"``{kind}``", value))
    lines += ["", ".. list-table::", "   :header-rows: 1", ""]
    for row in rows:
        lines += [f"   {'*' if cell is row[0] else ' '} - {cell}" for cell in row]


def names_no_missing_page(record: logging.LogRecord) -> bool:
    """Pass over the warning that the contents leave room for pages which are not there yet."""
    return "toctree glob pattern" not in str(record.msg)


def setup(app: Any) -> None:
    """Connect what shortens and what adds."""
    app.connect("autodoc-process-signature", short_signature)
    app.connect("autodoc-process-docstring", with_fields)
    logging.getLogger("sphinx.sphinx.directives.other").addFilter(names_no_missing_page)
