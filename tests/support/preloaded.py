"""Imports of the server of forks: what most forked programs use, as far as it loads here."""

import contextlib
import gc
import importlib

for name in (
    "datasets",
    "matplotlib.pyplot",
    "pyarrow.parquet",
    "torch.distributed",
    "torch._inductor",
    "torchcodec.decoders",
    "torchdata.stateful_dataloader",
    "kinetics",
    "kinetics_tools.cli.app",
    "kinetics_tools.downloading.run",
    "kinetics_tools.sampling.frames",
):
    with contextlib.suppress(ImportError, OSError, RuntimeError):  # torchcodec without FFmpeg: RuntimeError
        importlib.import_module(name)
gc.freeze()  # a fork that collects garbage would copy the memory of all of them
