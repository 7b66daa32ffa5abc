"""What importing the plugin adds to importing what a site has anyway.

Both are compiled before, as they are on a site from its second start on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

BASE = "import flask, flask_sqlalchemy, icalendar, wtforms"
PLUGIN = "import intake_plugin.extension, intake_plugin.web"
LIMIT = 0.1
"""Seconds."""


def ratios() -> list[tuple[str, float, float]]:
    """Return (name, time added over what may be added, 1)."""
    with tempfile.TemporaryDirectory() as compiled:
        _seconds(compiled)
        added = min(_seconds(compiled) for _ in range(7))
    return [("import of the plugin over 100 ms", added / LIMIT, 1.0)]


def _seconds(compiled: str) -> float:
    code = f"import time; {BASE}; start = time.process_time(); {PLUGIN}; print(time.process_time() - start)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        capture_output=True,
        text=True,
        env=environment | {"PYTHONPYCACHEPREFIX": compiled},
    )
    return float(run.stdout)


if __name__ == "__main__":
    for name, ratio, limit in ratios():
        print(f"{name}: {ratio:.2f} (limit {limit:g})")
