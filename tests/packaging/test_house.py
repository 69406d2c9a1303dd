"""The layout of the project: short modules, and imports that import-linter does not see."""

import ast
import importlib

from tests.support.clients import ROOT

MODULES = sorted((ROOT / "tools" / "kinetics_tools").rglob("*.py"))
BELOW_THE_BUILDER = {"_lazy", "errors", "text", "releases", "io", "annotations", "sources"}


def imported(path) -> set[str]:
    """Return the full names of the modules that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module))
    return names


def most_lines(path) -> int:
    is_verb = path.parent.name == "cli" and path.stem not in ("app", "options")
    return 560 if path.name == "kinetics.py" else 60 if is_verb else 400


def test_each_module_reads_in_one_sitting():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [ROOT / "kinetics.py", *MODULES]}
    too_long = {path for path, count in lines.items() if count > most_lines(path)}
    assert not too_long


def test_a_package_shows_its_public_names_before_they_are_imported():
    """As shells and notebooks offer them."""
    packages = [path.parent for path in MODULES if path.name == "__init__.py" and "lazy_exports(" in path.read_text()]
    assert len(packages) > 10
    for path in packages:
        package = importlib.import_module(".".join(path.relative_to(ROOT / "tools").parts))
        shown = dir(package)
        assert set(package.__all__) <= set(shown)
        assert {"lazy_exports", "TYPE_CHECKING", "_lazy"}.isdisjoint(shown)


def test_nothing_in_the_package_imports_the_builder():
    assert [path for path in MODULES if "kinetics" in {name.split(".")[0] for name in imported(path)}] == []


def test_the_builder_imports_no_stage_of_the_pipeline():
    ours = {name.split(".")[1] for name in imported(ROOT / "kinetics.py") if name.startswith("kinetics_tools.")}
    assert ours <= BELOW_THE_BUILDER
