"""How the tests over real processes are dealt out, with `--dist loadgroup`."""

import pytest

#: Fixtures that a file's tests share, as dear as they are.
_SHARED = {"ours", "run", "running", "shown"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A file whose tests share a stage stays with one process; other tests are dealt out singly."""
    for item in items:
        if item.get_closest_marker("acceptance") and _SHARED & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
