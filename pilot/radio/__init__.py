"""The pilot's side of the radio: quicker where a relay is heard, the same without it (ADR 25)."""
