"""The dataset document: what a person writes, read into a `Dataset` and written back.

The reference is docs/dataset-document.md. pydantic is used here and nowhere below.
"""

from central.document.read import load, parse, parse_text
from central.document.render import render
from central.document.text_file import DocumentRefused

__all__ = ["DocumentRefused", "load", "parse", "parse_text", "render"]
