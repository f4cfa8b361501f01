"""Which version of Pulk this is; packaging reads it from here."""

VERSION = "0.1.0"
