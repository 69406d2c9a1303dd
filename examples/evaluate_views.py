"""Score a model of examples/train.py on several views per clip, and write predictions for `kinetics evaluate`.

    python examples/evaluate_views.py demo/prepared run/checkpoint.pt --release 700 --split validation
    kinetics evaluate 700 scores.parquet --annotations demo/700/annotations

The views are ten windows with three crops each, as in PySlowFast's tests. The score of a clip is the mean of their
softmax.
"""

import argparse
import gc
import json
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from train import build, floats, has_label, load, split_name, whole

from kinetics_tools.sampling import Frames, ThreeCrops, UniformClips


def annotated_clips(args: argparse.Namespace) -> int | None:
    """Return the number of annotated clips of the split, if `kinetics prepare` made the data."""
    root = args.data if Path(args.data).is_dir() else f"hf://datasets/{args.data}"
    try:
        with fsspec.open(f"{root}/{args.release}/prepare.json") as file:
            return json.load(file)["splits"][args.split]["clips"]
    except (OSError, ValueError, LookupError, TypeError):
        return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="argument of load_dataset: a directory from `kinetics prepare`, or a repository")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--release", default="700")
    parser.add_argument("--split", type=split_name, default="validation")
    parser.add_argument("--out", type=Path, default=Path("scores.parquet"))
    parser.add_argument("--windows", type=whole, default=10)
    args = parser.parse_args()
    if args.out.suffix != ".parquet" or not args.out.parent.is_dir():
        parser.error(f"--out {args.out}: must be a .parquet file in an existing directory")
    if not args.checkpoint.is_file():
        parser.error(f"{args.checkpoint} is not a file; examples/train.py writes checkpoint.pt to its --out")

    saved = torch.load(args.checkpoint, weights_only=False)
    for name in ("model", "frames", "stride", "size"):  # as it was trained
        setattr(args, name, saved["options"][f"--{name}"])
    data = load(args)
    classes = data.features["label"].num_classes
    model = build(args.model, classes, args.frames, args.size)
    model.load_state_dict(saved["model"])
    model.eval()
    # (3 crops, windows, C, T, H, W) of each clip
    views = Frames(UniformClips(args.windows, args.frames, args.stride), ThreeCrops(args.size), layout="CTHW")
    rows = []
    hits = {1: 0, 5: 0}
    labelled = 0
    for row in views.apply(data):
        frames = torch.as_tensor(row["frames"])
        with torch.no_grad():
            scores = model(floats(frames.flatten(0, 1))).softmax(-1).mean(0)
        labelled += has_label(row)
        best = scores.topk(max(hits)).indices.tolist()
        for top in hits:
            hits[top] += row["label"] in best[:top]
        key = {name: row[name] for name in ("youtube_id", "time_start", "time_end")}
        rows.append({**key, "scores": scores.tolist()})
    pq.write_table(pa.Table.from_pylist(rows), args.out)
    print(f"{len(rows)} clips, {args.windows} windows x 3 crops")
    # Annotated clips without scores are wrong for `kinetics evaluate`.
    for count, what in ((len(rows), "scored"), (annotated_clips(args), "annotated")):
        if count and labelled:
            print(f"top-1 {hits[1] / count:.1%}, top-5 {hits[5] / count:.1%} over {count} {what} clips")
    if not labelled:
        print("no clip has a label")
    print(f"{args.out} has the scores")


if __name__ == "__main__":
    main()
    gc.collect()  # or threads of Arrow may abort Python at its end: https://github.com/huggingface/datasets/issues/7566
