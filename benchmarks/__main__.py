"""`python -m benchmarks`: every ratio with the most it may be; exit code 1 if one is over."""

from __future__ import annotations

import sys

from benchmarks import booking, calendar, feeds, loading, offers, pages

ROOMS = (pages, calendar, feeds, offers, booking, loading)


def main() -> int:
    rows = [row for room in ROOMS for row in room.ratios()]
    width = max(len(name) for name, _, _ in rows)
    for name, value, limit in rows:
        print(
            f"{name:{width}}  {value:8.3f}  at most {limit:<6.3g} {'' if value <= limit else 'OVER'}".rstrip()
        )
    return 1 if any(value > limit for _, value, limit in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
