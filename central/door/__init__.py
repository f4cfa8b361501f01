"""The door: a process that owns the listening socket, so that a flood never reaches the authority.

It answers who asks for work, from memory, and hands every other connection over unread.
"""
