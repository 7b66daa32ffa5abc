"""Case references: short enough to say on the telephone, without letters that look or read alike."""

from __future__ import annotations

import secrets

_ALPHABET = "2346789CDFGHJKMNPQRTVWX"
"""No vowels, so no words; none of 0 O, 1 I L, 5 S, U V, Y."""
_GROUPS = (3, 4)


def new_reference() -> str:
    """Return a random reference such as "K7M-2QXF"; the database refuses a second one per clinic."""
    return "-".join("".join(secrets.choice(_ALPHABET) for _ in range(length)) for length in _GROUPS)
