"""What importing the plugin adds to importing what a site has anyway."""

from __future__ import annotations

import subprocess
import sys

BASE = "import flask, flask_sqlalchemy, icalendar, wtforms"
PLUGIN = "import intake_plugin.extension, intake_plugin.web"
LIMIT = 0.1
"""Seconds."""


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, time added over what may be added, 1)."""
    added = min(_seconds() for _ in range(7))
    return [("import of the plugin over 100 ms", added / LIMIT, 1.0)]


def _seconds() -> float:
    code = f"import time; {BASE}; start = time.process_time(); {PLUGIN}; print(time.process_time() - start)"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return float(run.stdout)


if __name__ == "__main__":
    for name, ratio, limit in ratios():
        print(f"{name}: {ratio:.2f} (limit {limit:g})")
