"""Train a video model on streamed shards, with exact resume, on one or several processes.

    pip install torch torchdata matplotlib
    kinetics demo
    python examples/train.py demo/prepared --release 700 --split validation --out run
    python examples/train.py demo/prepared --release 700 --split validation --out run    # resumes a killed run
    torchrun --nproc-per-node 2 examples/train.py demo/prepared --release 700 --split validation --out run2

Writes checkpoint.pt and losses.csv to `--out`, and losses.png at the end. The order of files, windows and crops depends
only on the seed and the epoch. On a CPU, a killed and resumed run has the same losses as an uninterrupted one. All
processes take every step together, and rank 0 keeps one checkpoint with the positions of all of them.
"""

import argparse
import csv
import gc
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from datasets import load_dataset
from datasets.distributed import split_dataset_by_node
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torchdata.stateful_dataloader import StatefulDataLoader
from tqdm import tqdm

from kinetics_tools.releases import find_split
from kinetics_tools.sampling import (
    GRID,
    CenterCrop,
    Frames,
    RandomClip,
    RandomResizedCrop,
    UniformClips,
    collate,
    shuffle_shards,
)

MEAN, STD = 0.45, 0.225
FREE_TO_CHANGE = {"out", "epochs", "save_every"}  # options that may change when a run is resumed
# Position of a process without further clips in an epoch. A StatefulDataLoader that was resumed at its end tells its
# beginning as its state.
AT_END = {"is_at_end": True}


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


def load(args: argparse.Namespace, split: str | None = None) -> Any:
    """Return the stream of clips of a split, of `args.split` by default."""
    split = split or args.split
    asked = f"{args.data} with --release {args.release} --split {split}"
    try:
        data = load_dataset(args.data, args.release, split=split, streaming=True)
    except (ValueError, OSError) as error:  # such as a missing split, release or directory
        raise SystemExit(f"{asked}: {error}") from None
    if not hasattr((data.features or {}).get("label"), "num_classes"):
        raise SystemExit(f"{asked}: has no column `label` of class labels; pass a directory from `kinetics prepare`")
    return data


def has_label(row: dict[str, Any]) -> bool:
    return row["label"] is not None and row["label"] >= 0


def loader(data: Any, args: argparse.Namespace, device: torch.device) -> StatefulDataLoader:
    """Return a loader of batches whose workers decode, and which knows the position of each of them."""
    workers = min(args.workers, data.num_shards)
    on_gpu = device.type == "cuda"
    return StatefulDataLoader(data, args.batch_size, num_workers=workers, collate_fn=collate, pin_memory=on_gpu)


class TrainingClips:
    """Batches of this rank's clips in random order."""

    def __init__(self, args: argparse.Namespace, device: torch.device, rank: int, world: int):
        data = load(args)
        self.classes = data.features["label"].num_classes
        split = (data.info.splits or {}).get(args.split)
        self.clips_per_epoch = split.num_examples if split else None
        # The clips in a shard are in random order already, so no buffer is needed, and resume is exact.
        data = shuffle_shards(data, seed=args.seed)
        data = split_dataset_by_node(data, rank, world)
        self._frames = Frames(
            RandomClip(args.frames, args.stride, align=None if args.stride % GRID else "grid"),
            RandomResizedCrop(args.size, scale=(0.5, 1), flip=0.5),
            layout="CTHW",
            seed=args.seed,
        )
        self._data = self._frames.apply(data)
        self._loader = loader(self._data, args, device)

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the batch that was given out last."""
        return self._loader.state_dict()

    def batches(self, epoch: int, state: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
        """Yield the batches of an epoch, from the position in `state` on."""
        if state == AT_END:
            return
        self._data.set_epoch(epoch)
        self._frames.set_epoch(epoch)
        if state is not None:
            self._loader.load_state_dict(state)
        for batch in self._loader:
            label = batch["label"]
            if not torch.is_tensor(label) or (label < 0).any():
                raise SystemExit("a clip has no label: choose a --split whose clips have one")
            yield batch


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


def not_negative(text: str) -> int:
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


Loss = tuple[int, int, float, float | None]
"""Epoch, step, training loss, and top-1 after the last step of an epoch."""


def write_losses(folder: Path, losses: list[Loss]) -> None:
    with (folder / "losses.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["epoch", "step", "loss", "top1"])
        rows.writerows(losses)


def plot_losses(folder: Path, losses: list[Loss]) -> None:
    try:
        import matplotlib
    except ImportError:
        print("losses.png needs matplotlib: pip install matplotlib")
        return
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot([step for _, step, _, _ in losses], [loss for _, _, loss, _ in losses], linewidth=1)
    axes.set(xlabel="step", ylabel="training loss", ylim=(0, None))
    scores = [(step, top1) for _, step, _, top1 in losses if top1 is not None]
    if scores:
        right = axes.twinx()
        right.plot(*zip(*scores, strict=True), color="tab:orange", marker="o", markersize=3)
        right.set(ylabel="validation top-1", ylim=(0, 1))
    figure.savefig(folder / "losses.png", dpi=120)
    pyplot.close(figure)


def summed(*values: float) -> list[float]:
    """Return the sum of each value over all processes."""
    total = torch.tensor(values, dtype=torch.float64)
    if dist.is_initialized():
        dist.all_reduce(total)
    return total.tolist()


def gathered(value: Any, world: int) -> list[Any]:
    """Return the values of all processes, by rank."""
    values = [value] * world
    if dist.is_initialized():
        dist.all_gather_object(values, value)
    return values


def accuracy(model: nn.Module, data: Any, args: argparse.Namespace, device: torch.device) -> float:
    """Return the top-1 accuracy on the middle of each clip, over all processes."""
    frames = Frames(UniformClips(1, args.frames, args.stride), CenterCrop(args.size), layout="CTHW")
    right = count = 0
    model.eval()
    with torch.no_grad():
        for batch in loader(frames.apply(data), args, device):
            best = scores_of(model, batch["frames"].flatten(0, 1), device).argmax(1)  # one window of each clip
            right += int((best.cpu() == torch.as_tensor(batch["label"])).sum())
            count += len(best)
    model.train()
    right, count = summed(right, count)
    return right / count


def scores_of(model: nn.Module, frames: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the float32 scores (B, classes) of uint8 clips (B, C, T, H, W); GPUs compute them in bfloat16."""
    given = floats(frames.to(device, non_blocking=True))
    with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
        return model(given).float()


def start(args: argparse.Namespace) -> tuple[torch.device, int, int]:
    """Return the device of this process, its rank and the number of processes."""
    kind = args.device if args.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    rank, world = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    device = torch.device(kind, int(os.environ.get("LOCAL_RANK", 0))) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.use_deterministic_algorithms(True)
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo")
    torch.manual_seed(args.seed)
    return device, rank, world


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="argument of load_dataset: a directory from `kinetics prepare`, or a repository")
    parser.add_argument("--release", default="700")
    parser.add_argument("--split", type=split_name, default="train")
    parser.add_argument("--validation-split", type=split_name, help="split for top-1 after each epoch")
    parser.add_argument("--out", type=Path, default=Path("run"), help="output directory")
    parser.add_argument("--model", choices=("small", "videomae"), default="small")
    parser.add_argument("--epochs", type=whole, default=30)
    parser.add_argument("--batch-size", type=whole, default=6, help="clips per rank and step")
    parser.add_argument("--frames", type=whole, default=8)
    parser.add_argument("--stride", type=whole, default=8)
    parser.add_argument("--size", type=whole, default=64)
    parser.add_argument("--rate", type=rate, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=not_negative, default=0)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: a GPU if there is one")
    parser.add_argument("--workers", type=not_negative, default=4, help="decoding processes per rank")
    parser.add_argument("--save-every", type=whole, default=5, help="steps between checkpoints")
    args = parser.parse_args()
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out}: {error.strerror}")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch finds no GPU")
    return args


def run(args: argparse.Namespace, device: torch.device, rank: int, world: int) -> None:
    """Train, and write the checkpoint and the losses."""
    clips = TrainingClips(args, device, rank, world)
    held_out = split_dataset_by_node(load(args, args.validation_split), rank, world) if args.validation_split else None
    model = build(args.model, clips.classes, args.frames, args.size).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.rate)
    trained = DistributedDataParallel(model) if world > 1 else model

    checkpoint = args.out / "checkpoint.pt"
    options = {f"--{name.replace('_', '-')}": value for name, value in vars(args).items() if name not in FREE_TO_CHANGE}
    options["processes"] = world
    epoch, step, seen, state = 0, 0, 0, None
    losses: list[Loss] = []
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False, map_location=device)
        check_options(args, saved["options"], options)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        epoch, step, seen, losses = saved["epoch"], saved["step"], saved["seen"], saved["losses"]
        state = saved["streams"][rank]
        print(f"rank {rank}: resumed in epoch {epoch} after step {step}", flush=True)

    def keep(state: dict[str, Any] | None) -> None:
        """Save a checkpoint with the position of each process in its stream."""
        streams = gathered(state, world)
        if rank == 0:
            content = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "losses": losses}
            content |= {"epoch": epoch, "step": step, "seen": seen, "streams": streams, "options": options}
            save(checkpoint, content)

    total = clips.clips_per_epoch and clips.clips_per_epoch * args.epochs
    progress = tqdm(total=total, initial=seen, unit=" clips", smoothing=0.05, disable=rank > 0)
    blank = {"frames": torch.zeros(1, 3, args.frames, args.size, args.size), "label": torch.zeros(1, dtype=torch.int64)}
    while epoch < args.epochs:
        batches = clips.batches(epoch, state)
        batch = next(batches, None)
        # Processes may have different numbers of clips: one that is done adds nothing to the gradients of the others.
        while (ranks := summed(batch is not None)[0]) > 0:
            given = batch or blank
            scores = scores_of(trained, given["frames"], device)
            loss = nn.functional.cross_entropy(scores, given["label"].to(device)) * (batch is not None)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
            sum_of_losses, new = summed(loss.item(), len(batch["label"]) if batch else 0)
            losses.append((epoch + 1, step, sum_of_losses / ranks, None))
            seen += int(new)
            progress.set_postfix(epoch=epoch + 1, loss=f"{losses[-1][2]:.3f}", refresh=False)
            progress.update(int(new))
            if step % args.save_every == 0:
                keep(clips.state_dict() if batch else AT_END)
            batch = next(batches, None)
        if not losses:
            raise SystemExit(f"{args.data} with --release {args.release} --split {args.split}: has no clips")
        if held_out is not None:
            losses[-1] = (*losses[-1][:3], accuracy(model, held_out, args, device))
        epoch, state = epoch + 1, None
        keep(None)
        if rank == 0:
            scored = f", top-1 on {args.validation_split} {losses[-1][3]:.1%}" if held_out is not None else ""
            progress.write(f"epoch {epoch}: loss {losses[-1][2]:.3f} after {step} steps{scored}")
            write_losses(args.out, losses)
    progress.close()
    if rank == 0:
        plot_losses(args.out, losses)

    if held_out is None:
        found = accuracy(model, split_dataset_by_node(load(args), rank, world), args, device)
        if rank == 0:
            print(f"top-1 on {args.split}, the middle of each clip: {found:.1%}")


def main() -> None:
    args = arguments()
    device, rank, world = start(args)
    run(args, device, rank, world)
    # Streams that are left may abort Python at its end: https://github.com/huggingface/datasets/issues/7566
    # DistributedDataParallel must go before its process group, which else waits, with the GIL, for threads that need
    # the GIL: https://github.com/pytorch/pytorch/issues/56297
    gc.collect()
    if world > 1:
        dist.destroy_process_group()


if __name__ == "__main__":
    main()
