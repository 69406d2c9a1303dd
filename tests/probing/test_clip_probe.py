"""verify, loading, sampling and prepare agree on the frames of a clip and on whether it is corrupt."""

from pathlib import Path

from datasets import ClassLabel, Dataset, Features, Video

from kinetics_tools.probing.clip_probe import probe_clip
from kinetics_tools.sampling.torchvision_compat import KineticsClips
from tests.support.agreement import disagreements, mutation_disagreements, plain_frames, seeds


def _small(shared):
    """The files that take least; tests/soak has all."""
    return [path for path in seeds(shared) if path.stat().st_size < 100_000 and path.parent.name != "27-fuzz"]


def test_all_agree_on_faults_that_users_met(shared):
    paths = _small(shared)
    assert len(paths) > 20
    assert {path.name: found for path in paths if (found := disagreements(str(path)))} == {}


def test_kinetics_clips_has_the_windows_of_the_frames(shared):
    paths = [path for path in seeds(shared) if path.parent.name[:2] in ("01", "04", "07", "09", "15", "19", "26")]
    features = Features({"video": Video(decode=False), "label": ClassLabel(names=["a"])})
    rows = {"video": [{"path": str(path), "bytes": None} for path in paths], "label": [0] * len(paths)}
    windows = KineticsClips(Dataset.from_dict(rows, features=features), 1, audio=False, tensors=False)
    assert len(windows) == sum(len(plain_frames(path)) for path in paths)
    last = {windows.get_clip_location(index)[0]: index for index in range(len(windows))}
    for number, index in last.items():
        assert windows[index][0].shape[0] == 1, paths[number]


def test_all_agree_on_mutated_clips(shared, tmp_path):
    found = dict(mutation_disagreements(_small(shared), range(30), tmp_path, workers=1))
    assert len(found) > 20
    assert {number: problems for number, problems in found.items() if problems} == {}


def test_an_intact_cut_is_good_and_a_damaged_one_is_not(shared, tmp_path):
    whole = Path(shared, "faults", "03-open-gop-cut-refused", "ogcut.mp4")
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(range(200))
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(content)
    assert probe_clip(str(whole), deep=True).error is None
    assert "has a corrupt frame at" in (probe_clip(str(damaged), deep=True).error or "")
    assert disagreements(str(damaged)) == []
