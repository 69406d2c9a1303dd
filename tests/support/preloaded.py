"""Imports of the server of forks: what most forked programs use, as far as it loads here."""

import contextlib
import gc
import importlib

import tests.support.quick_yaml  # noqa: F401

for name in (
    "altair",
    "datasets",
    "matplotlib.pyplot",
    "pyarrow.parquet",
    "torch.distributed",
    "torch._inductor",
    "torchcodec.decoders",
    "torchdata.stateful_dataloader",
    "pydantic.type_adapter",  # which typer imports for its first command
    "kinetics",
    "kinetics_tools.cli.app",
    "kinetics_tools.downloading.run",
    "kinetics_tools.preparation.run",
    "kinetics_tools.publication.run",
    "kinetics_tools.sampling.frames",
    "kinetics_tools.verification.run",
    "tests.support.releases",
):
    with contextlib.suppress(ImportError, OSError, RuntimeError):  # torchcodec without FFmpeg: RuntimeError
        importlib.import_module(name)
gc.freeze()  # a fork that collects garbage would copy the memory of all of them
