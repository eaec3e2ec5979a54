"""Values and keys as TOML texts; `tomllib` reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def value(thing: Any) -> str:
    """Write a text, number, bool, list or dict as one line.

    Raises
    ------
    TypeError
        Anything else; half a character (a lone surrogate), which no file in UTF-8 can hold.

    Examples
    --------
    >>> print(value({"times": [0.0, 5], "unit": 'u"m', "a b": True}))
    { times = [0.0, 5], unit = "u\\"m", "a b" = true }
    """
    if isinstance(thing, (bool, np.bool_)):
        return str(bool(thing)).lower()
    if isinstance(thing, (int, np.integer)):
        return str(int(thing))
    if isinstance(thing, (float, np.floating)):
        return repr(float(thing))
    if isinstance(thing, str):
        return _quoted(thing)
    if isinstance(thing, (tuple, list)):
        return "[" + ", ".join(value(item) for item in thing) + "]"
    if isinstance(thing, Mapping):
        pairs = ", ".join(f"{key(name)} = {value(item)}" for name, item in thing.items())
        return f"{{ {pairs} }}" if pairs else "{}"
    raise TypeError(f"TOML holds texts, numbers, bools, lists and dicts; got a {type(thing).__name__}")


def key(name: str) -> str:
    """Write a key, in quotes where it needs them.

    Examples
    --------
    >>> print(key("k_on"), key("ER membrane"))
    k_on "ER membrane"
    """
    return name if _BARE.fullmatch(name) else _quoted(name)


def _quoted(text: str) -> str:
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise TypeError(f"TOML holds texts in UTF-8; got {text!r}, in which half a character stands alone")
    # JSON's escapes are TOML's, and TOML wants that of DEL too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
