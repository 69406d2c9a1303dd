"""Public names of a package, imported when they are first used (PEP 562).

Worker processes import few modules, and `kinetics --help` none of the slow ones.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def lazy_exports(package: str, modules: Mapping[str, Sequence[str]]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package, given the names that each of its modules provides.

    Args:
        package: `__name__` of the package.
        modules: name of a module, relative to the package -> names in it.
    """
    module_of = {name: module for module, names in modules.items() for name in names}

    def __getattr__(name: str) -> Any:
        if name not in module_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(f"{package}.{module_of[name]}"), name)

    return __getattr__
