"""The check of docstrings in a build of the site."""

import importlib.util

import pytest

from tests.support.clients import ROOT

griffe = pytest.importorskip("griffe")  # of `make docs`

SOURCE = '''
"""Module."""

__all__ = ["bare", "told", "Base", "Derived"]

def bare(): ...

def told():
    """Return."""

def unlisted(): ...

class Base:
    """Class."""

    def run(self):
        """Run."""

    def stop(self): ...

    def _private(self): ...

class Derived(Base):
    """Class."""

    def __init__(self): ...

    def run(self): ...
'''


@pytest.fixture(scope="module")
def hooks():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_public_names_without_a_docstring_are_found(hooks, tmp_path):
    (tmp_path / "sample.py").write_text(SOURCE)
    module = griffe.load("sample", search_paths=[tmp_path])
    assert list(hooks.undocumented(module)) == ["sample.bare", "sample.Base.stop"]
