"""Compiles the tests and what they import, which each process of pytest would do for itself."""

import gc
import importlib
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest


def compile_tests(folder: Path) -> None:
    """Write the compiled files of the tests below `folder` where they are missing or too old.

    Each processor imports a part of them in a fork of this process, where pytest rewrites their
    assertions. What cannot be imported is left to pytest, which says why.
    """
    files = [path for path in sorted(folder.rglob("test_*.py")) if not _is_compiled(path)]
    if not files:
        return
    modules = [".".join(path.relative_to(folder.parent).with_suffix("").parts) for path in files]
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    forks = [_fork_import(modules[first::processors]) for first in range(processors)]
    for fork in forks:
        os.waitpid(fork, 0)


def _is_compiled(path: Path) -> bool:
    found = path.parent.glob(f"__pycache__/{path.stem}.*-pytest-{pytest.__version__}.pyc")
    return any(each.stat().st_mtime >= path.stat().st_mtime for each in found)


def _fork_import(modules: Iterable[str]) -> int:
    """Start a fork that imports these modules and ends without a word; its process id."""
    fork = os.fork()
    if fork == 0:
        try:
            gc.disable()
            for module in modules:
                with suppress(BaseException):
                    importlib.import_module(module)
        finally:
            os._exit(0)
    return fork
