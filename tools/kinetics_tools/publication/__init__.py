"""Publication of prepared shards to the Hub, a bucket or a directory."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.publication.infos import dataset_infos, published_infos, write_infos
    from kinetics_tools.publication.run import push

__all__ = [
    "dataset_infos",
    "published_infos",
    "push",
    "write_infos",
]

__getattr__ = lazy_exports(
    __name__,
    {
        "infos": ["dataset_infos", "published_infos", "write_infos"],
        "run": ["push"],
    },
)
