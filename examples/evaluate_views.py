"""Scores a model of examples/train.py over several views of each clip, and writes what `kinetics evaluate` reads.

    python examples/evaluate_views.py demo/prepared run/checkpoint.pt --release 700 --split validation
    kinetics evaluate scores.parquet 700 --annotations demo/700/annotations

Ten windows over the clip and three crops of each, as PySlowFast tests: the mean of their softmax is the clip's score.
"""

import argparse
import gc
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from train import build, floats, load

from kinetics import find_split
from kinetics_tools.sampling import Frames, ThreeCrops, UniformClips


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="what load_dataset takes: a folder that `kinetics prepare` made, or a repository")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--release", default="700")
    parser.add_argument("--split", type=find_split, default="validation")
    parser.add_argument("--out", type=Path, default=Path("scores.parquet"))
    parser.add_argument("--model", choices=("small", "videomae"), default="small")
    parser.add_argument("--windows", type=int, default=10)
    parser.add_argument("--frames", type=int, default=8)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--size", type=int, default=64)
    args = parser.parse_args()

    data = load(args)
    classes = data.features["label"].num_classes
    model = build(args.model, classes, args.frames, args.size)
    model.load_state_dict(torch.load(args.checkpoint, weights_only=False)["model"])
    model.eval()
    # (3 crops, windows, C, T, H, W) of each clip
    views = Frames(UniformClips(args.windows, args.frames, args.stride), ThreeCrops(args.size), layout="CTHW")
    rows = []
    hits = {1: 0, 5: 0}
    for row in views.apply(data):
        frames = torch.as_tensor(row["frames"])
        with torch.no_grad():
            scores = model(floats(frames.flatten(0, 1))).softmax(-1).mean(0)
        best = scores.topk(max(hits)).indices.tolist()
        for top in hits:
            hits[top] += row["label"] in best[:top]
        key = {name: row[name] for name in ("youtube_id", "time_start", "time_end")}
        rows.append({**key, "scores": scores.tolist()})
    pq.write_table(pa.Table.from_pylist(rows), args.out)
    count = len(rows)
    print(f"{count} clips, {args.windows} windows x 3 crops: top-1 {hits[1] / count:.1%}, top-5 {hits[5] / count:.1%}")
    print(f"{args.out} has the scores")


if __name__ == "__main__":
    main()
    gc.collect()  # or threads of Arrow may abort Python at its end: https://github.com/huggingface/datasets/issues/7566
