"""Seeded worlds: many sites, couriers and users around the real programs in virtual time.

One seed makes one world, and makes it again bit by bit: see docs/testing.md.
"""
