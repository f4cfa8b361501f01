"""The relay's side of the radio: a process of `pulk relay run` that pilots hear (ADR 25)."""
