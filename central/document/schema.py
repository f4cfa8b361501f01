"""The JSON Schema of the dataset document, made from the forms, for editors that complete it."""

from __future__ import annotations

import json
from typing import Any

from central.document.form import DatasetForm

ID = "https://pulk.invalid/dataset.schema.json"


def schema() -> dict[str, Any]:
    """Return the schema of what people write; what only the graph shows is not in it."""
    made = DatasetForm.model_json_schema(by_alias=True, mode="validation")
    made["title"] = "Dataset document of Pulk"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": ID, **made}


def as_text() -> str:
    """Return it as it is printed and published."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"
