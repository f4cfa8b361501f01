"""The REST API: who may what, what the routes answer, what OpenAPI says of them."""
