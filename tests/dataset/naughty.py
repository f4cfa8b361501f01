"""Texts that went wrong somewhere once: written for these tests, by class.

Each class is a way in which a text that a person typed becomes something else: a command, markup,
a path, a number, a line, or another text.
"""

from __future__ import annotations

CLASSES: dict[str, tuple[str, ...]] = {
    "empty and blank": (" ", "\t", "  x  ", "\u00a0", "\u3000", "\u200b"),
    "words of other types": ("null", "None", "NaN", "true", "no", "-0", "1e999", "0x10", "010",
        "1,5"),
    "shell": ("; touch pwned", "$(touch pwned", "`touch pwned`", "| tee pwned", "&& :", "$HOME",
        "*", "~",
              "> pwned", "a'b", 'a"b', "a\\b", "!!", "{a,b}", "#x", "-rf", "--help"),
    "macros of others": ("$$", "%s%n", "${HOME}", "{{ 7*7 }}", "<%= 7*7 %>", "#{7*7}", "%PATH%",
        "{0}"),
    "markup": ("<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "&lt;b&gt;",
        "</td></tr>",
               "[bold]x[/bold]", "[link=javascript:1]x[/]", "\" onload=\"x", "<!--", "]]>"),
    "queries": ("'; DROP TABLE tasks;--", "1 OR 1=1", "%", "_", "x' UNION SELECT 1", "\\'; --"),
    "formulas": ("=1+1", "+1", "-1", "@SUM(A1)", '=HYPERLINK("x")'),
    "paths": ("../../etc/passwd", "/etc/passwd", "CON", "a/../b", "file:///etc/passwd", ".",
        "..", "C:\\x"),
    "lines": ("a\nb", "a\r\nb", "a\rb", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb"),
    "terminals": ("\x1b[31mred", "\x1b]0;title\x07", "\x07", "a\x08b", "\x7f", "\x9b2J", "\x1b[2J"),
    "directions": ("\u202ereversed", "\u2066x\u2069", "\u200fabc", "\u05d0\u05d1 abc"),
    "alike": ("\u0430dmin", "\uff41\uff42", "\u212b", "e\u0301", "\u00e9", "I\u0307", "\u00df",
        "\ufb01"),
    "large": ("x" * 4000, "\u00e9" * 2000, "\U0001f9ea" * 500, "Z" + "\u0335" * 300),
    "beyond": ("\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0010ffff", "\ufffd", "\ufeffx",
        "\ue000"),
    "yaml and toml": ("a: b", "- a", "&a", "*a", "!x", "'''", '"""', "# a", "[a]", "{a}",
        "12:30", "<<"),
}  # fmt: skip
NAUGHTY = tuple(one for several in CLASSES.values() for one in several)
NEVER = ("\x00", "a\x00b", "\ud800", "x\udfff")  # no process can be given these
