import pytest

from bitsandnats.errors import DataError, InputError
from bitsandnats.hf import Checkpoint, choose, find_series


def make(root, *names):
    for name in names:
        (root / name).mkdir(parents=True)
        (root / name / "config.json").write_text("{}")


def test_ordered_by_step(tmp_path):
    make(tmp_path, "step128", "step2", "checkpoint-16", "1000", "run_7", "final")
    (tmp_path / "logs").mkdir()
    make(tmp_path, ".step4.partial")
    series = find_series(tmp_path)
    assert [c.step for c in series] == [2, 7, 16, 128, 1000, None]
    assert [c.label for c in series] == ["step2", "run_7", "checkpoint-16", "step128", "1000", "final"]
    assert series[0].reference == tmp_path / "step2"


def test_one_checkpoint(tmp_path):
    make(tmp_path, "step64")
    assert find_series(tmp_path / "step64") == [Checkpoint("step64", 64, tmp_path / "step64")]


def test_bad_folders(tmp_path):
    with pytest.raises(DataError, match="got none; name the folder"):
        find_series(tmp_path)
    with pytest.raises(DataError, match="nothing there"):
        find_series(tmp_path / "nowhere")
    make(tmp_path, "step1", "checkpoint-1")
    with pytest.raises(DataError, match="both step 1"):
        find_series(tmp_path)


def test_choose_is_log_spaced_with_both_ends(tmp_path):
    steps = [0, 1, 2, 4, 8, 16, 32, 64, 96, 128, 192, 256, 384, 512, 768]
    series = [Checkpoint(f"step{s}", s, tmp_path) for s in steps]
    for count in range(2, len(steps) + 3):
        chosen = [c.step or 0 for c in choose(series, count)]
        assert len(chosen) == min(count, len(steps))
        assert chosen == sorted(set(chosen))
        assert (chosen[0], chosen[-1]) == (0, 768)
    assert [c.step for c in choose(series, 4)] == [0, 8, 96, 768]
    assert [c.step for c in choose(series, 1)] == [768]
    nameless = [Checkpoint(str(i), None, tmp_path) for i in range(5)]
    assert [c.label for c in choose(nameless, 3)] == ["0", "2", "4"]
    with pytest.raises(InputError, match="at least 1"):
        choose(series, 0)
