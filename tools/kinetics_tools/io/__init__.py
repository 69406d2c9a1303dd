"""Files and servers: what is read and written, and how it stays whole."""

from kinetics_tools.io.atomic import check_target, disk_errors, replacing
from kinetics_tools.io.cache import DownloadCache
from kinetics_tools.io.disk import DiskSpace, disk_spaces
from kinetics_tools.io.folder import Folder
from kinetics_tools.io.hosts import mirror_url, mirrored, without_credentials
from kinetics_tools.io.http import HttpFile, is_url, open_binary, remote_size, url_exists
from kinetics_tools.io.jsonl import JsonLog, read_json_lines
from kinetics_tools.io.limits import RateLimit, Stopped
from kinetics_tools.io.partial import PartialFile, discard_partial, partial_size
from kinetics_tools.io.retry import RetryPolicy, retry
from kinetics_tools.io.tar import read_archive

__all__ = [
    "DiskSpace",
    "DownloadCache",
    "Folder",
    "HttpFile",
    "JsonLog",
    "PartialFile",
    "RateLimit",
    "RetryPolicy",
    "Stopped",
    "check_target",
    "discard_partial",
    "disk_errors",
    "disk_spaces",
    "is_url",
    "mirror_url",
    "mirrored",
    "open_binary",
    "partial_size",
    "read_archive",
    "read_json_lines",
    "remote_size",
    "replacing",
    "retry",
    "url_exists",
    "without_credentials",
]
