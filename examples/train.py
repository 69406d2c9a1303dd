"""Train a video model on streamed shards, with exact resume, on one or several processes.

    kinetics demo
    python examples/train.py demo/prepared --release 700 --split validation --out run
    python examples/train.py demo/prepared --release 700 --split validation --out run    # resumes a killed run
    torchrun --nproc-per-node 2 examples/train.py demo/prepared --release 700 --split validation --out run2

Needs torch, and transformers for `--model videomae`. The order of files, windows and crops depends only on the seed and
the epoch, so a killed and resumed run has the same loss curve as an uninterrupted one. All processes take every step
together, and rank 0 keeps one checkpoint with the positions of all of them.
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
FREE_TO_CHANGE = {"out", "epochs", "save_every"}  # options that may change when a run is resumed


class SmallNet(nn.Module):
    """3D convolutional network with 0.2 million weights: enough for the sample, not for Kinetics."""

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
    """Small VideoMAE with random weights."""

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
    """Return uint8 clips as normalized floats."""
    return (frames.float() / 255 - MEAN) / STD


def load(args: argparse.Namespace) -> Any:
    """Return the stream of clips."""
    asked = f"{args.data} with --release {args.release} --split {args.split}"
    try:
        data = load_dataset(args.data, args.release, split=args.split, streaming=True)
    except (ValueError, OSError) as error:  # such as a missing split, release or directory
        raise SystemExit(f"{asked}: {error}") from None
    if not hasattr((data.features or {}).get("label"), "num_classes"):
        raise SystemExit(f"{asked}: has no column `label` of class labels; pass a directory from `kinetics prepare`")
    return data


def has_label(row: dict[str, Any]) -> bool:
    return row["label"] is not None and row["label"] >= 0


class Stream:
    """Batches of this rank's clips in an epoch, from the position in `state` on."""

    def __init__(self, args: argparse.Namespace, rank: int, world: int):
        data = load(args)
        self.classes = data.features["label"].num_classes
        # Only shards are shuffled: the clips in them already are, so no buffer is needed, and resume is exact. Newer
        # releases of datasets would read several shards at once for the buffer.
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
    """Return a split; argparse shows the message of no other error."""
    try:
        return find_split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def whole(text: str, least: int = 1) -> int:
    """Return an integer of at least `least`."""
    number = int(text)
    if number < least:
        raise argparse.ArgumentTypeError(f"{number}: must be at least {least}")
    return number


def seed(text: str) -> int:
    return whole(text, least=0)


def rate(text: str) -> float:
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{number}: must be above 0 and finite")
    return number


def save(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically."""
    partial = path.with_suffix(".tmp")
    torch.save(content, partial)
    os.replace(partial, path)


def check_options(args: argparse.Namespace, saved: dict[str, Any], options: dict[str, Any]) -> None:
    """Exit if a resumed run has other options."""
    changed = [f"{name} {saved.get(name)}, not {value}" for name, value in options.items() if saved.get(name) != value]
    if changed:
        raise SystemExit(f"{args.out} has a run with {'; '.join(changed)}: choose another --out")


def summed(value: float) -> float:
    """Return the sum over all processes."""
    total = torch.tensor(float(value))
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.item()


def gathered(value: Any, world: int) -> list[Any]:
    """Return the values of all processes, by rank."""
    values = [value] * world
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def accuracy(model: nn.Module, args: argparse.Namespace) -> float:
    """Return the top-1 accuracy on the middle of each clip."""
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
    parser.add_argument("data", help="argument of load_dataset: a directory from `kinetics prepare`, or a repository")
    parser.add_argument("--release", default="700")
    parser.add_argument("--split", type=split_name, default="train")
    parser.add_argument("--out", type=Path, default=Path("run"), help="output directory")
    parser.add_argument("--model", choices=("small", "videomae"), default="small")
    parser.add_argument("--epochs", type=whole, default=30)
    parser.add_argument("--batch-size", type=whole, default=6, help="clips per rank and step")
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
        print(f"rank {rank}: resumed in epoch {epoch} after step {step}", flush=True)

    def keep(state: dict[str, Any] | None) -> None:
        """Save a checkpoint with the position of each process in its stream."""
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
