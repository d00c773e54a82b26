"""Values that no file should hold, and spellings of them."""

from __future__ import annotations

from typing import Any

ESCAPE = "\x1b[31mred\x1b[0m\x07"
# Names of files and words, of which a reader of logs or a spreadsheet would make something.
FORGED = (
    *(
        "x\n::error::forged",
        "x\r::stop-commands::t",
        "x\u2028::add-mask::y",
        "\u202ecod.exe",
        "\x9b2Jx",
        "\x85::debug::x",
    ),
    *("::warning file=a,line=1::x", "a##[add-mask]b", "##vso[x]y", "=1+1", "a\u200bb", "a\xa0b", "\ufeffx", "\udcffx"),
)
PIECES = (
    *(b"\0", b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf", b"\xff", b"\xc3", b"\x1b[2J", b"\r", b"\t", b"\n\n", b"\x85"),
    *("\u2028", "\u202e", "\ufeff", "😀", "é", "0", "-", "_", ".", "e9", ":", ": ", "#", " #", ",", "{", "}", "[", "]"),
    *("&a ", "*a", "!x ", "!!float ", "? ", "| ", "> ", "%", "@", "`", "'", '"', "\\", "---\n", "...\n", "<<: ", "~"),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 7, 33, 1000, 2**31, 2**63, 2**64, 10**30, 10**400),
    *(0.0, -0.0, 0.5, 1e-320, 5e-324, 1e-9, 1e15, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "x", "off", "zoo", "catalogue", "record", "baseline", "3,3,3", "0,0,0", "64x64", "coco-val", "fp16"),
    *("-", "--", "~", "~nobody-of-that-name/x", ".", "..", "/", "/dev/zero", "/etc/passwd", "../../x.yaml", "no.yaml"),
    *("\0", "a\0.yaml", "a\0.safetensors", "y" * 300, "y" * 300 + ".yaml", "z" * 5000, "😀" * 199),
    *(ESCAPE, f"{ESCAPE}.yaml", "a\nerror: b", "a\r", "\x9b2J", "\u202eabc", "\u2028", "[bold]x[/bold]", "[/x]"),
    *("<script>alert(1)</script>", "%s%n", "{0}", "${HOME}", "$x_{", "`x`", "|", "\\", "::error::x", "]]>", "&lt;"),
    *([], {}, [[]], [None], ["res5"], ["res5", "res5"], [1, 2, 3], [1e-9, 1e9], {"max": 1.0}, {"": 1}),
    *({"x": {"y": []}},),
)  # fmt: skip
YAML_SPELLINGS = (
    *("1e-4", "1.0e-4", "1.0e+4", "3_3_3", "0x96", "010", "1:30", "1:" * 300 + "1.5", "+5", ".5", "5.", ".inf", ".nan"),
    *("yes", "off", "~", "2026-13-45", "2026-11-22", "2001-12-14t21:59:43.10-99:99"),
    *("9" * 4000, "1" + "0" * 5000, "9" * 400 + ".0", '!!float "5"', "!!float 5", "!!int abc", "!!bool x", "!!null x"),
    *("!!binary aGk=", "!!set {a}", "!!timestamp x", "!!str 5", "!x y"),
    *("!!python/object/apply:os.system ['touch executed']"),
    *("*a", "&a 5", "{<<: {a: 1}}", '"\\ud800"', '"\\0"', '"\\e[31m"', "|\n  5\n", ">-\n  5\n", "'5'"),
    *("[" * 40 + "]" * 40, "{a: " * 30 + "}" * 30, "? x", "- x", "@x", "%x", "{5: 5}", "{[]: 5}"),
)  # fmt: skip
JSON_SPELLINGS = (
    *("NaN", "Infinity", "-Infinity", "-0", "-0.0", "1e999", "1e-999", "1e308", "5e-324", "01", "+1", "nul", "//"),
    *("9" * 400, "9" * 4000, "1" + "0" * 5000, "[" * 500 + "]" * 500, '{"a": 1, "a": 2}'),
    *('"\\ud800"', '"\\u0000"', '"\\u001b[31m"'),
)  # fmt: skip
