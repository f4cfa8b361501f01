"""Configs of IceProd become documents."""
