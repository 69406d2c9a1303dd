"""Input and output: HTTP, archives, caches and atomic files."""

from typing import TYPE_CHECKING

from kinetics_tools._lazy import lazy_exports

if TYPE_CHECKING:
    from kinetics_tools.io.atomic import (
        check_outputs,
        check_target,
        disk_errors,
        new_directory,
        replacing,
        trial_directory,
        write_file,
    )
    from kinetics_tools.io.cache import DownloadCache
    from kinetics_tools.io.disk import DiskSpace, disk_spaces
    from kinetics_tools.io.folder import Folder, check_apart
    from kinetics_tools.io.hosts import mirror_url, mirrored
    from kinetics_tools.io.http import WEB_PAGE, HttpFile, is_web_page, open_binary, remote_size, url_exists
    from kinetics_tools.io.json_shape import check_shape, parse_json
    from kinetics_tools.io.jsonl import JsonLog, read_json_lines
    from kinetics_tools.io.limits import RateLimit, Stopped
    from kinetics_tools.io.lock import held_alone
    from kinetics_tools.io.partial import PartialFile, discard_partial, partial_size
    from kinetics_tools.io.retry import RetryPolicy
    from kinetics_tools.io.stores import open_store
    from kinetics_tools.io.tar import read_archive
    from kinetics_tools.io.urls import has_host, hide_credentials, is_url, join_url, path_part, without_credentials

__all__ = [
    "WEB_PAGE",
    "DiskSpace",
    "DownloadCache",
    "Folder",
    "HttpFile",
    "JsonLog",
    "PartialFile",
    "RateLimit",
    "RetryPolicy",
    "Stopped",
    "check_apart",
    "check_outputs",
    "check_shape",
    "check_target",
    "discard_partial",
    "disk_errors",
    "disk_spaces",
    "has_host",
    "held_alone",
    "hide_credentials",
    "is_url",
    "is_web_page",
    "join_url",
    "mirror_url",
    "mirrored",
    "new_directory",
    "open_binary",
    "open_store",
    "parse_json",
    "partial_size",
    "path_part",
    "read_archive",
    "read_json_lines",
    "remote_size",
    "replacing",
    "trial_directory",
    "url_exists",
    "without_credentials",
    "write_file",
]

# Lazily: a worker process that retries imports neither `datasets` nor a client of HTTP.
__getattr__ = lazy_exports(
    __name__,
    {
        "atomic": [
            "check_outputs",
            "check_target",
            "disk_errors",
            "new_directory",
            "replacing",
            "trial_directory",
            "write_file",
        ],
        "cache": ["DownloadCache"],
        "disk": ["DiskSpace", "disk_spaces"],
        "folder": ["Folder", "check_apart"],
        "hosts": ["mirror_url", "mirrored"],
        "http": ["WEB_PAGE", "HttpFile", "is_web_page", "open_binary", "remote_size", "url_exists"],
        "json_shape": ["check_shape", "parse_json"],
        "jsonl": ["JsonLog", "read_json_lines"],
        "limits": ["RateLimit", "Stopped"],
        "lock": ["held_alone"],
        "partial": ["PartialFile", "discard_partial", "partial_size"],
        "retry": ["RetryPolicy"],
        "stores": ["open_store"],
        "tar": ["read_archive"],
        "urls": ["has_host", "hide_credentials", "is_url", "join_url", "path_part", "without_credentials"],
    },
)
