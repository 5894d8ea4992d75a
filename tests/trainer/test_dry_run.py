"""What a run would do: the numbers are those of the run itself; and what a step holds is the same as what it trained on."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

from tests.trainer.packed_folder import some_rows, write_folder
from tests.trainer.tiny_model import write_tiny_model
from trainer.backbone import ModelFolderError
from trainer.batch_plan import BatchPlanError
from trainer.batch_size_search import GroupSearch, Try, find_batch_sizes, rising_sizes, write_worst_batch
from trainer.dry_run import dry_run
from trainer.loop import TrainSettings, train
from trainer.show_step import pairs_of_step
from trainer.training_data import TrainingData, TrainingDataError


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    pairs, passages = some_rows(40)
    for row, pair in enumerate(pairs):
        pair["dataset"] = "small" if row < 8 else "large"
    pairs[9]["cluster"] = pairs[10]["cluster"] = "asked twice"
    return write_folder(tmp_path_factory.mktemp("data"), pairs, passages, length_edges=[0, 500])


def settings_for(model, **changes):
    given = {"steps": 9, "batch_size": 8, "device": "cpu", "precision": "fp32", "seed": 3}
    return TrainSettings(model=str(model), **(given | changes))


@pytest.fixture(scope="module")
def lines(model, folder, tmp_path_factory):
    """The lines of metrics.jsonl of a run."""
    found = []
    train(folder, tmp_path_factory.mktemp("run"), settings_for(model), found.append)
    return found


def test_the_dry_run_s_means_are_those_of_the_run(model, folder, lines):
    found = dry_run(str(folder), settings_for(model))
    assert found.pairs_per_step == pytest.approx(np.mean([line["pairs"] for line in lines]))
    assert found.tokens_per_step == pytest.approx(np.mean([line["tokens"] for line in lines]))
    real, padded = (sum(line[name] for line in lines) for name in ("tokens", "padded_tokens"))
    assert found.padding_share == pytest.approx(1 - real / padded, abs=1e-6)
    assert (found.batches_per_epoch, found.epochs, found.left_out) == (5, 9 / 5, 0)
    assert found.seconds_per_step > 0
    assert found.weight_bytes == 16 * sum(math.prod(shape) for shape in shapes(model))


def shapes(model):
    from safetensors import safe_open

    with safe_open(model / "model.safetensors", "np") as weights:
        return [weights.get_slice(name).get_shape() for name in weights.keys()]  # noqa: SIM118  (it is no dict)


def test_the_dry_run_lists_batches_by_group(model, folder):
    found = dry_run(str(folder), settings_for(model, own_negatives_only=("small",)), measure=False)
    rows = [(group.group, group.length_from, group.pairs, group.batches, group.in_batch) for group in found.groups]
    # Of the 8 pairs of "small", rows 0 and 4 have no negative.
    assert rows == [("large", 0, 32, 4, True), ("small", 0, 6, 1, False)]
    assert found.left_out == 2
    assert found.seconds_per_step is None


def test_the_pairs_shown_of_a_step_are_those_it_trains_on(model, folder):
    data = TrainingData.open(folder)
    pairs, passages = some_rows(40)
    shown = list(pairs_of_step(str(folder), settings_for(model), 4, ranks=2))
    assert {pair.rank for pair in shown} == {0, 1}
    for pair in shown:
        assert pair.pair_id == data.pair_id[pair.row].tobytes().hex()
        assert pair.dataset == ("small" if pair.row < 8 else "large")
        words = [f"word{token - 5}" for token in pairs[pair.row]["query"][1:-1]]
        assert pair.query == " ".join(words)
        assert len(pair.negatives) == len(pairs[pair.row]["negatives"])
        assert pair.positive.split() == [f"word{token - 5}" for token in passages[pair.row]["token_ids"][1:-1]]
    assert json.dumps([pair.__dict__ for pair in shown])


def test_what_is_masked_for_a_query_is_shown_beside_it(model, tmp_path):
    pairs, passages = some_rows(4)
    passages[1]["cluster"] = "alike"
    pairs[2]["known_positives"] = [1]
    folder = write_folder(tmp_path / "data", pairs, passages)
    shown = {pair.row: pair for pair in pairs_of_step(str(folder), settings_for(model, batch_size=4), 1)}
    assert shown[2].no_negatives_here == [1]
    assert shown[1].no_negatives_here == []


@pytest.mark.parametrize("step", [-1, 0, 10])
def test_a_step_that_the_run_does_not_have_is_refused_by_its_number(model, folder, step):
    with pytest.raises(BatchPlanError, match=f"no step {step}: .* steps 1 to 9"):
        list(pairs_of_step(str(folder), settings_for(model), step))


def test_data_packed_with_another_tokenizer_are_neither_shown_nor_estimated(model, tmp_path):
    folder = write_folder(tmp_path / "data", *some_rows(8), tokenizer_fingerprint="0" * 64)
    for answer in (
        lambda: list(pairs_of_step(str(folder), settings_for(model), 1)),
        lambda: dry_run(str(folder), settings_for(model), measure=False),
    ):
        with pytest.raises(TrainingDataError, match="another tokenizer"):
            answer()


def test_the_memory_of_a_dry_run_is_of_all_graphs_where_they_fit_and_of_one_forward_else(model, folder):
    whole = dry_run(str(folder), settings_for(model, batch_size=32), measure=False)
    chunked = {"tokens_at_once": 0, "tokens_per_forward": 64}
    cached = dry_run(str(folder), settings_for(model, batch_size=32, **chunked), measure=False)
    assert cached.activation_bytes < whole.activation_bytes / 4
    checkpointed = settings_for(model, batch_size=32, gradient_checkpointing=True)
    assert dry_run(str(folder), checkpointed, measure=False).activation_bytes < whole.activation_bytes


def test_the_heads_and_outputs_that_are_one_a_token_count_in_time_and_memory(model, folder, lines):
    changes = {"tokens_at_once": 1 << 20, "outputs": ("dense", "lexical", "multi_vector"), "token_dimension": 8}
    dense = dry_run(str(folder), settings_for(model, tokens_at_once=1 << 20), measure=False)
    found = dry_run(str(folder), settings_for(model, **changes))
    assert found.seconds_per_step > 0
    # Linear layers from 32 to 1 and to 8 numbers: weights, gradients, two moments in fp32.
    assert found.weight_bytes - dense.weight_bytes == 16 * (33 + 8 * 33)
    padded, tokens = (max(line[name] for line in lines) for name in ("padded_tokens", "tokens"))
    of_graphs = 4 * padded * ((32 + 2 * 1) + (32 + 2 * 8))
    of_outputs = 4 * tokens * 3 * (1 + 8)
    assert found.activation_bytes - dense.activation_bytes == of_graphs + of_outputs


def test_a_head_in_the_model_folder_that_training_would_refuse_is_refused(model, folder, tmp_path):
    copied = shutil.copytree(model, tmp_path / "model")
    torch.save({"weight": torch.zeros(8, 31), "bias": torch.zeros(8)}, copied / "colbert_linear.pt")
    with pytest.raises(ModelFolderError, match=r"colbert_linear\.pt should hold"):
        dry_run(str(folder), settings_for(copied, outputs=("dense", "multi_vector")), measure=False)


@pytest.mark.parametrize(
    ("limit", "most", "expected"),
    [
        (100, 1000, [16, 32, 64, 128, 96]),
        (10**6, 100, [16, 32, 64, 100]),
        (10, 1000, [16]),
        (10**6, 5, [5]),
    ],
)
def test_sizes_double_until_one_does_not_fit_and_one_between_is_tried(limit, most, expected):
    tried = list(rising_sizes(lambda size: Try(size, size <= limit, None, None), most))
    assert [each.size for each in tried] == expected
    found = GroupSearch(0, 10, most, tried)
    assert found.largest == max((size for size in expected if size <= limit), default=None)


def test_the_worst_batch_has_the_texts_asked_for(tmp_path):
    write_worst_batch(tmp_path, 6, 5, 9, 2, 50)
    data = TrainingData.open(tmp_path)
    assert set(data.query_tokens.lengths) == {5}
    assert set(data.passage_tokens.lengths) == {9}
    assert data.negatives.lengths.tolist() == [2] * 6
    assert len(set(data.passage_cluster.tolist())) == 18


def test_sizes_are_tried_in_processes_of_their_own_with_the_real_model(model, tmp_path):
    folder = write_folder(tmp_path / "data", *some_rows(20))
    (found,) = find_batch_sizes(str(folder), settings_for(model), memory_mib=100_000)
    assert [(each.size, each.fits) for each in found.tries] == [(16, True), (20, True)]
    assert found.largest == 20
    (none,) = find_batch_sizes(str(folder), settings_for(model), memory_mib=50, most=16)
    assert none.largest is None


def test_sizes_are_tried_for_the_pairs_that_take_part(model, folder):
    # Rows 0 to 7 are of "small"; two steps of three outputs and distillation.
    changes = {"datasets": ("small",), "outputs": ("dense", "lexical", "multi_vector"), "self_distillation_from": 100}
    (found,) = find_batch_sizes(str(folder), settings_for(model, **changes), memory_mib=100_000)
    assert found.pairs == 8
    assert [(each.size, each.fits) for each in found.tries] == [(8, True)]
