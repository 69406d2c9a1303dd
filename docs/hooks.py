"""Hook of mkdocs: a public name without a docstring is a warning, which a strict build turns into a failure."""

import functools
import logging
import re
from collections.abc import Iterator
from typing import Any

import griffe

_log = logging.getLogger("mkdocs.plugins.docstrings")
_REFERENCE = re.compile(r"^::: (\S+)", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Check each module that an API page shows."""
    for name in _REFERENCE.findall(markdown):
        for path in undocumented(_modules()[name]):
            _log.warning(f"{path} is public and has no docstring")
    return markdown


@functools.cache
def _modules() -> Any:
    loader = griffe.GriffeLoader(search_paths=["tools", "."])
    for package in ("kinetics_tools", "kinetics"):
        loader.load(package)
    loader.resolve_aliases()
    return loader.modules_collection


def undocumented(module: Any) -> Iterator[str]:
    """Yield the paths of a module's public names, and of their public methods, that have no docstring."""
    public = [name for name, member in module.members.items() if member.is_public]
    for name in module.exports or public:
        member = module[name]
        if not member.has_docstring:
            yield member.path
        # Methods that a class of another library declares are documented there.
        if member.is_class and len(member.resolved_bases) == len(member.bases):
            methods = (method for method in member.members.values() if method.is_function and method.is_public)
            yield from (method.path for method in methods if not _is_documented(member, method))


def _is_documented(owner: Any, method: Any) -> bool:
    """Return True if a method or what it overrides has a docstring. Special methods need none."""
    if method.is_special or method.has_docstring:
        return True
    return any(method.name in base.members and base[method.name].has_docstring for base in owner.mro())
