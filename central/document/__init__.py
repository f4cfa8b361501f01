"""The dataset document: what a person writes, read into a `Dataset` and written back.

The reference is docs/dataset-document.md. pydantic is used here and nowhere below.
"""

from central.document.others import Find, Other
from central.document.read import load, parse, parse_text, values
from central.document.render import render
from central.document.text_file import DocumentRefused, read_text

__all__ = [
    "DocumentRefused",
    "Find",
    "Other",
    "load",
    "parse",
    "parse_text",
    "read_text",
    "render",
    "values",
]
