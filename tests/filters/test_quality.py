"""The quality of a pair."""

import pyarrow as pa
import pytest

from filters.measure import mask_pairs, measure, record_quality
from filters.personal_data import PersonalDataSettings
from filters.quality import measure_quality
from filters.settings import FilterSettings
from sources.schema import make_pairs

FAMILIES = {"text", "language", "web", "junk"}
TEXT = "The river rises in the hills and flows through three lakes before it reaches the sea. Its mouth is wide."


def quality(query, positive, families=FAMILIES):
    batch, _ = make_pairs(query=[query], positive=[positive], kind="title_body", source="t", document_id=["1"])
    measured = measure_quality(measure(batch, FilterSettings(), families)).to_pylist()[0]
    assert measured is None or 0 <= measured <= 1
    return measured


def test_quality_is_the_geometric_mean_of_its_parts():
    # "Abc" -> 30 letters and 10 digits: 40 / (40 + 80), letter shares 1 and 0.75, three parts.
    assert quality("Abc", "abcdefghij" * 3 + "1234567890", {"text"}) == pytest.approx((1 / 3 * 1 * 0.75) ** (1 / 3))


def test_worse_texts_have_lower_quality():
    best = quality("The river", TEXT)
    assert best > quality("The river", TEXT[:30])
    assert best > quality("The river", TEXT + " 12 34 56 78 90 ---- " * 5)
    assert best > quality("The river", "river " * 30)


def test_without_measures_of_texts_there_is_no_quality():
    assert quality("The river", TEXT, {"language"}) is None


def test_quality_is_recorded_into_the_scores_and_nothing_else_changes():
    batch, _ = make_pairs(query=["a b"], positive=[TEXT], kind="title_body", source="t", document_id=["1"])
    measured = measure(batch, FilterSettings(), {"text"})
    row = record_quality(batch, measured).to_pylist()[0]
    assert row["scores"].pop("quality") == pytest.approx(quality("a b", TEXT, {"text"}))
    assert all(value is None for value in row["scores"].values())
    assert {**row, "scores": None} == batch.to_pylist()[0]
    assert record_quality(batch, measure(batch, FilterSettings(), {"web"})).equals(batch)


def test_masking_replaces_personal_data_in_all_texts_and_keeps_ids():
    mail = "write to someone@nordwind-verlag.de today"
    batch, _ = make_pairs(
        query=[mail, "b"],
        positive=["a", "c"],
        negatives=[["x", mail], None],
        kind="other",
        source="t",
        document_id=["1", "2"],
    )
    for rows in (batch, batch.slice(1), batch.slice(0, 1)):
        masked = mask_pairs(rows, PersonalDataSettings(action="mask"))
        assert masked["pair_id"].equals(rows["pair_id"])
        expected = rows.to_pylist()
        for row in expected:
            row["query"] = row["query"].replace("someone@nordwind-verlag.de", "<EMAIL>")
            if row["negatives"]:
                row["negatives"] = ["x", "write to <EMAIL> today"]
        assert masked.to_pylist() == expected


def test_an_empty_batch_has_qualities_too():
    batch, _ = make_pairs(query=["a"], positive=["b"], kind="other", source="t", document_id=["1"])
    measured = measure(batch.slice(0, 0), FilterSettings(), FAMILIES)
    assert measure_quality(measured).type == pa.float32()
