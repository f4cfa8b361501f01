"""The media types that requests and answers have."""

BYTES = "application/octet-stream"
JSON = "application/json"
MSGPACK = "application/msgpack"
NDJSON = "application/x-ndjson"
PROBLEM = "application/problem+json"
EVENTS = "text/event-stream"
