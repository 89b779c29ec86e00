"""Makes an installation small, and ready for a disk that nobody may write to.

`python deploy/slim.py /opt/dispatcher` removes what this program never loads, strips symbols from
libraries where `strip` is, and compiles every module.
"""

import compileall
import re
import shutil
import subprocess
import sys
from pathlib import Path

#: Places of phone numbers (19 MB) are not used; carriers and time zones of numbers are.
_UNUSED = (
    "phonenumbers/geodata",
    "sqlalchemy/testing",
    "alembic/testing",
    "mako/testing",
    "celery/contrib/testing",
    "pygal/test",
    "tornado/test",
)
#: Sources of what is compiled, and types for checkers.
_SOURCES = ("*.c", "*.cpp", "*.h", "*.pxd", "*.pyi", "*.pyx")
#: Only a traceback in colours and `celery shell` would load these.
_RARE = re.compile(r"/(pygments|prompt_toolkit)/")


def slim_down(packages: Path) -> None:
    """Remove, strip and compile under a `site-packages` folder."""
    for name in _UNUSED:
        shutil.rmtree(packages / name, ignore_errors=True)
    for pattern in _SOURCES:
        for path in packages.rglob(pattern):
            path.unlink()
    if (strip := shutil.which("strip")) is not None:
        # Libraries that a wheel carries were patched by its maker, which strip may undo.
        found = [p for p in packages.rglob("*.so") if not p.parent.name.endswith(".libs")]
        subprocess.run([strip, "--strip-unneeded", *found], check=True)
    compileall.compile_dir(packages, quiet=1, workers=0, rx=_RARE)


if __name__ == "__main__":
    for folder in Path(sys.argv[1]).glob("lib/python3.*/site-packages"):
        slim_down(folder)
