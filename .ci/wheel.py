"""Check a built wheel: every file of the package that is under version control, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path, PurePosixPath

SOURCES_ONLY = {".po", ".pot"}
LOADS = """
from importlib.resources import files
from pathlib import Path
import intake_plugin
from intake_plugin.loading import load_protocol
where = Path(intake_plugin.__file__).resolve()
assert where.is_relative_to(Path({target!r}).resolve()), f"{{where}} is not the wheel"
for file in files("intake_plugin.protocols").iterdir():
    if file.name.count(".") == 1 and file.name.endswith(".toml"):
        print(load_protocol(file.name.removesuffix(".toml")).id)
"""


def expected() -> set[str]:
    """Return the package's files that belong into a wheel; a catalogue goes in compiled."""
    listing = subprocess.run(["git", "ls-files", "intake_plugin"], check=True, capture_output=True, text=True)
    paths = [PurePosixPath(line) for line in listing.stdout.splitlines()]
    wanted = {str(path) for path in paths if path.suffix not in SOURCES_ONLY}
    return wanted | {str(path.with_suffix(".mo")) for path in paths if path.suffix == ".po"}


def problems(wheel: Path) -> list[str]:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith("/")}
    inside = {name for name in names if ".dist-info/" not in name}
    wanted = expected()
    missing = [f"missing from the wheel: {name}" for name in sorted(wanted - inside)]
    return missing + [f"should not be in the wheel: {name}" for name in sorted(inside - wanted)]


def load_from(wheel: Path) -> None:
    """Install the wheel by itself and load every protocol from it."""
    with tempfile.TemporaryDirectory() as target:
        pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", target, str(wheel)]
        subprocess.run(pip, check=True)
        code = f"import sys; sys.path.insert(0, {target!r})" + LOADS.format(target=target)
        subprocess.run([sys.executable, "-c", code], check=True, cwd=target)


def main(wheel: Path) -> None:
    if found := problems(wheel):
        sys.exit("\n".join([f"{wheel.name}:", *found]))
    load_from(wheel.resolve())
    print(f"{wheel.name}: {len(expected())} files, all of them and no others")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
