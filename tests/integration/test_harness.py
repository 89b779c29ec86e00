"""The harness of the tests: what cannot be collected is an error beside other processes too."""

import subprocess
import sys

from tests.support.cli import ROOT

GOOD = "def test_good():\n    pass\n"
#: What comes before the mistake is in the module.
BROKEN = GOOD + "import no_such_module_of_a_test\n\ndef test_after_it():\n    pass\n"
#: As those of this project.
SETTINGS = """
[tool.pytest.ini_options]
addopts = ["-p", "no:valkey", "--import-mode=importlib"]
pythonpath = ["."]
"""
COLLECT = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from tests.support.forked_workers import _collect
_collect(sys.argv[1:])
print(sorted(name.rpartition(".")[2] for name, module in sys.modules.items()
             if callable(getattr(module, "test_good", None))))
"""


def test_forked_processes_read_a_broken_file_again_and_say_what_is_wrong(tmp_path):
    """Pytest takes a module that it finds as imported, with the tests above the mistake."""
    package = tmp_path / "of_a_test"
    package.mkdir()
    (tmp_path / "pyproject.toml").write_text(SETTINGS)
    for name, text in (("__init__.py", ""), ("test_good.py", GOOD), ("test_broken.py", BROKEN)):
        (package / name).write_text(text)
    ended = subprocess.run(
        [sys.executable, "-c", COLLECT, str(tmp_path), str(package)],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert ended.stdout.splitlines()[-1] == "['test_good']"
