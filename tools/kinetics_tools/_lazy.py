"""Public names of a package, imported when they are first used (PEP 562).

Worker processes import few modules, and `kinetics --help` none of the slow ones.
"""

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, given the names that each of its modules provides, and set its `__dir__`.

    Shells and notebooks then offer these names, although they are not imported yet.

    Args:
        package: `__name__` of the package.
        modules: name of a module, relative to the package -> names in it.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    own = vars(sys.modules[package])
    own["__dir__"] = lambda: [*own["__all__"], *_public_modules(own), "__doc__", "__name__"]
    return __getattr__


def _public_modules(names: Mapping[str, Any]) -> list[str]:
    """Return the public modules of a package that are imported already, given its `__dict__`."""
    start = f"{names['__name__']}."
    modules = [name for name, value in names.items() if getattr(value, "__name__", "") == start + name]
    return sorted(name for name in modules if not name.startswith("_"))
