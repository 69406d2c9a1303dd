"""Trains a video model on prepared shards, streamed; stops and resumes exactly; on one process or many.

    kinetics demo
    python examples/train.py demo/prepared --release 700 --split validation --out run
    python examples/train.py demo/prepared --release 700 --split validation --out run    # goes on, if it was killed
    torchrun --nproc-per-node 2 examples/train.py demo/prepared --release 700 --split validation --out run2

It needs torch, and transformers for `--model videomae`. What a run draws (order of files, windows, crops) follows from
the seed and the epoch alone, so a run that was killed gives the loss curve that it would have given. All processes take
every step together, and rank 0 keeps one checkpoint with the places of all of them.
"""

import argparse
import gc
import inspect
import json
import math
import os
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from kinetics_tools.releases import find_split
from kinetics_tools.sampling import (
    GRID,
    CenterCrop,
    Frames,
    RandomClip,
    RandomResizedCrop,
    UniformClips,
    collate,
)

MEAN, STD = 0.45, 0.225
FREE_TO_CHANGE = {"out", "epochs", "save_every"}  # the options that a run may go on with other values of


class SmallNet(nn.Module):
    """A 3D convolutional network with 0.2 million weights: enough for the sample, not for Kinetics."""

    def __init__(self, classes: int):
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in ((3, 16), (16, 32), (32, 64), (64, 64)):
            stride = (1, 2, 2) if before == 3 else 2
            layers += [nn.Conv3d(before, after, 3, stride=stride, padding=1), nn.GroupNorm(8, after), nn.ReLU()]
        self.features = nn.Sequential(*layers)
        self.head = nn.Linear(64, classes)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, C, T, H, W) -> (B, classes)."""
        return self.head(self.features(clips).mean(dim=(2, 3, 4)))


class VideoMAE(nn.Module):
    """A small VideoMAE from a config, with weights that were never trained."""

    def __init__(self, classes: int, num_frames: int, size: int):
        super().__init__()
        try:
            from transformers import VideoMAEConfig, VideoMAEForVideoClassification
        except ImportError as error:
            raise SystemExit(f"--model videomae needs transformers ({error}): pip install transformers") from None

        config = VideoMAEConfig(
            image_size=size,
            num_frames=num_frames,
            num_labels=classes,
            hidden_size=192,
            num_hidden_layers=4,
            num_attention_heads=3,
            intermediate_size=768,
        )
        self.model = VideoMAEForVideoClassification(config)

    def forward(self, clips: torch.Tensor) -> torch.Tensor:
        return self.model(pixel_values=clips.transpose(1, 2)).logits


def build(name: str, classes: int, num_frames: int, size: int) -> nn.Module:
    return SmallNet(classes) if name == "small" else VideoMAE(classes, num_frames, size)


def floats(frames: torch.Tensor) -> torch.Tensor:
    """uint8 clips as the models take them."""
    return (frames.float() / 255 - MEAN) / STD


def load(args: argparse.Namespace) -> Any:
    """The clips, streamed."""
    asked = f"{args.data} with --release {args.release} --split {args.split}"
    try:
        data = load_dataset(args.data, args.release, split=args.split, streaming=True)
    except (ValueError, OSError) as error:  # as of a split, a release or a folder that is not there
        raise SystemExit(f"{asked}: {error}") from None
    if not hasattr((data.features or {}).get("label"), "num_classes"):
        raise SystemExit(f"{asked}: has no column `label` of classes, as what `kinetics prepare` made has")
    return data


def has_label(row: dict[str, Any]) -> bool:
    return row["label"] is not None and row["label"] >= 0


class Stream:
    """This rank's clips of an epoch, in batches, from where `state` says."""

    def __init__(self, args: argparse.Namespace, rank: int, world: int):
        data = load(args)
        self.classes = data.features["label"].num_classes
        # The files are shuffled; the clips in them are already, so that no buffer is needed, and none is lost. Newer
        # releases of datasets would read several files at once for the buffer.
        options = {"max_buffer_input_shards": 1, "buffer_size": 1}
        known = inspect.signature(data.shuffle).parameters
        data = data.shuffle(seed=args.seed, **{name: value for name, value in options.items() if name in known})
        data = split_dataset_by_node(data, rank, world)
        self._frames = Frames(
            RandomClip(args.frames, args.stride, align=None if args.stride % GRID else "grid"),
            RandomResizedCrop(args.size, scale=(0.5, 1), flip=0.5),
            layout="CTHW",
            seed=args.seed,
        )
        self._data = self._frames.apply(data)
        self._batch_size = args.batch_size

    def state_dict(self) -> dict[str, Any]:
        return self._data.state_dict()

    def batches(self, epoch: int, state: dict[str, Any] | None) -> Any:
        self._data.set_epoch(epoch)
        self._frames.set_epoch(epoch)
        if state is not None:
            self._data.load_state_dict(state)
        rows: list[dict[str, Any]] = []
        for row in self._data:
            if not has_label(row):
                raise SystemExit(f"{row['youtube_id']} has no label: choose a --split whose clips have one")
            rows.append(row)
            if len(rows) == self._batch_size:
                yield collate(rows)
                rows = []
        if rows:
            yield collate(rows)


def split_name(text: str) -> str:
    """For argparse, which tells nothing of another error."""
    try:
        return find_split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole(text: str, least: int = 1) -> int:
    """For argparse, too."""
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{number}: must be {least} or more")
    return number


def seed(text: str) -> int:
    return whole(text, least=0)


def rate(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{number}: must be more than 0 and finite")
    return number


def save(path: Path, content: dict[str, Any]) -> None:
    """Whole or not at all: a kill may come at any time."""
    partial = path.with_suffix(".tmp")
    torch.save(content, partial)
    os.replace(partial, path)


def check_options(args: argparse.Namespace, saved: dict[str, Any], options: dict[str, Any]) -> None:
    """A run goes on as it began."""
    changed = [f"{name} {saved.get(name)}, not {value}" for name, value in options.items() if saved.get(name) != value]
    if changed:
        raise SystemExit(f"{args.out} has a run with {'; '.join(changed)}: choose another --out")


def summed(value: float) -> float:
    """Over all processes."""
    total = torch.tensor(float(value))
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item()


def gathered(value: Any, world: int) -> list[Any]:
    """What each process has, by rank."""
    values = [value] * world
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def accuracy(model: nn.Module, args: argparse.Namespace) -> float:
    """Top-1 of the middle of each clip."""
    data = load(args)
    data = Frames(UniformClips(1, args.frames, args.stride), CenterCrop(args.size), layout="CTHW").apply(data)
    right = count = 0
    model.eval()
    with torch.no_grad():
        for row in data:
            clips = floats(torch.as_tensor(row["frames"]))  # one window: (1, C, T, H, W)
            right += int(model(clips).mean(0).argmax()) == row["label"]
            count += 1
    model.train()
    return right / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="what load_dataset takes: a folder that `kinetics prepare` made, or a repository")
    parser.add_argument("--release", default="700")
    parser.add_argument("--split", type=split_name, default="train")
    parser.add_argument("--out", type=Path, default=Path("run"), help="folder of the checkpoint and the losses")
    parser.add_argument("--model", choices=("small", "videomae"), default="small")
    parser.add_argument("--epochs", type=whole, default=30)
    parser.add_argument("--batch-size", type=whole, default=6, help="clips of a rank at once")
    parser.add_argument("--frames", type=whole, default=8)
    parser.add_argument("--stride", type=whole, default=8)
    parser.add_argument("--size", type=whole, default=64)
    parser.add_argument("--rate", type=rate, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=seed, default=0)
    parser.add_argument("--save-every", type=whole, default=5, help="steps between checkpoints")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out}: {error.strerror}")

    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    if world > 1:
        dist.init_process_group("gloo")
    torch.manual_seed(args.seed)
    torch.use_deterministic_algorithms(True)
    stream = Stream(args, rank, world)
    model = build(args.model, stream.classes, args.frames, args.size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate)
    trained = DistributedDataParallel(model) if world > 1 else model

    checkpoint = args.out / "checkpoint.pt"
    options = {f"--{name.replace('_', '-')}": value for name, value in vars(args).items() if name not in FREE_TO_CHANGE}
    options["processes"] = world
    epoch, step, state = 0, 0, None
    losses: list[float] = []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        check_options(args, saved["options"], options)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        epoch, step, state, losses = saved["epoch"], saved["step"], saved["streams"][rank], saved["losses"]
        print(f"rank {rank}: goes on in epoch {epoch} after step {step}", flush=True)

    def keep(state: dict[str, Any] | None) -> None:
        """Each process is at a place of its own in the stream."""
        streams = gathered(state, world)
        if rank == 0:
            content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
            save(checkpoint, {**content, "epoch": epoch, "step": step, "streams": streams, "options": options})

    blank = {"frames": torch.zeros(1, 3, args.frames, args.size, args.size), "label": torch.zeros(1, dtype=torch.int64)}
    while epoch < args.epochs:
        batches = stream.batches(epoch, state)
        batch = next(batches, None)
        # Processes may have different numbers of clips: one that is done adds nothing to the gradients of the others.
        while ranks := summed(batch is not None):
            given = batch or blank
            loss = nn.functional.cross_entropy(trained(floats(given["frames"])), given["label"]) * (batch is not None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            losses.append(summed(loss.item()) / ranks)
            if step % args.save_every == 0:
                keep(stream.state_dict())
            batch = next(batches, None)
        epoch, state = epoch + 1, None
        keep(None)
        if rank == 0:
            print(f"epoch {epoch}: loss {losses[-1]:.3f} after {step} steps", flush=True)

    if rank == 0:
        found = accuracy(model, args)
        (args.out / "losses.json").write_text(json.dumps(losses))
        print(f"top-1 on {args.split}, the middle of each clip: {found:.1%}")
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
    gc.collect()  # or threads of Arrow may abort Python at its end: https://github.com/huggingface/datasets/issues/7566
