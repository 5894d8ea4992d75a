import threading
import time

import pytest
import torch

from trainer.side_by_side import side_by_side


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def encoding_threads():
    return [each for each in threading.enumerate() if each.name.startswith("encode")]


@pytest.mark.parametrize("most", [1, 3, 1000])
def test_results_come_in_the_order_of_the_items(threads, most):
    def work(item):
        time.sleep(0.002 * (item % 3))  # later items are done before earlier ones
        return item * item

    assert list(side_by_side(work, range(20), [1] * 20, most)) == [item * item for item in range(20)]


def test_no_items_give_no_results(threads):
    assert list(side_by_side(str, [], [], 1)) == []


def test_torch_computes_with_one_thread_in_each_and_with_as_many_as_before_elsewhere(threads):
    def work(_):
        torch.ones(4) + 1
        return torch.get_num_threads(), threading.current_thread().name

    elsewhere = []
    for number, name in side_by_side(work, range(6), [1] * 6, 100):
        started = threading.Thread(target=lambda: elsewhere.append(torch.get_num_threads()))
        started.start()
        started.join()
        assert number == 1
        assert (name == threading.current_thread().name) == (threads == 1)
        assert torch.get_num_threads() == threads
    assert elsewhere == [threads] * 6
    assert torch.get_num_threads() == threads


def test_as_many_items_are_worked_on_at_once_as_torch_has_threads(two_threads):
    together = threading.Barrier(2)
    assert list(side_by_side(lambda _: together.wait(20) >= 0, range(4), [1] * 4, 100)) == [True] * 4


def test_items_wait_while_those_begun_are_as_large_as_allowed(two_threads):
    sizes = [3, 2, 9, 1, 1, 1]
    begun = []
    taken = 0
    for _ in side_by_side(begun.append, range(6), sizes, 5):
        if begun[-1] != 2:  # one that is larger than all that is allowed is alone
            assert sum(sizes[taken : len(begun)]) <= 5
        taken += 1
    assert taken == 6
    assert sorted(begun) == list(range(6))


def test_the_first_error_comes_out_in_its_place_and_nothing_more_is_begun(two_threads):
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            raise KeyError("two")
        time.sleep(0.01)
        return item

    results = side_by_side(work, range(1000), [1] * 1000, 10)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(KeyError, match="two"):
        next(results)
    assert len(begun) < 20
    assert not encoding_threads()


def test_whoever_stops_early_leaves_no_threads(two_threads):
    results = side_by_side(lambda item: item, range(1000), [1] * 1000, 10)
    assert next(results) == 0
    assert encoding_threads()
    results.close()
    assert not encoding_threads()
    assert torch.get_num_threads() == 2
