"""Which GPU a worker is given. Workers at work, their deaths and their queues: test_search.py, test_ledger.py."""

import pytest
import torch

from nas.study.crew import devices_for


@pytest.fixture
def four_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.mark.usefixtures("four_gpus")
def test_workers_share_the_gpus_in_turn() -> None:
    assert [devices_for(place, 6)["CUDA_VISIBLE_DEVICES"] for place in range(6)] == ["0", "1", "2", "3", "0", "1"]


@pytest.mark.usefixtures("four_gpus")
def test_a_single_worker_keeps_all_gpus_for_a_training_that_is_shared_between_them() -> None:
    assert devices_for(0, 1) == {}


@pytest.mark.usefixtures("four_gpus")
def test_workers_get_no_gpu_that_this_process_may_not_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,GPU-8f6f")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [devices_for(place, 3)["CUDA_VISIBLE_DEVICES"] for place in range(3)] == ["2", "GPU-8f6f", "2"]


def test_where_there_is_one_gpu_or_none_nothing_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert devices_for(1, 2) == {}
