"""The language measured of real sentences, of short ones, and of those that letters alone decide."""

import numpy as np
import pyarrow as pa
import pytest

from filters import language
from filters.language import (
    LanguageModel,
    LanguageModelError,
    LanguageSettings,
    language_group,
    language_model_sha256,
    measure_language,
)
from sources.schema import make_pairs

SETTINGS = LanguageSettings()
ENGLISH = "The committee will publish its findings at the end of the month."
GERMAN = "Der Ausschuss wird seine Ergebnisse am Ende des Monats veröffentlichen."


def pair(query, positive, kind="title_body", query_lang="und", positive_lang="und"):
    batch, rejects = make_pairs(
        query=[query],
        positive=[positive],
        kind=kind,
        source="test",
        document_id=["1"],
        query_lang=query_lang,
        positive_lang=positive_lang,
    )
    assert rejects.num_rows == 0
    return batch


def measured(*arguments, **claims):
    return measure_language(pair(*arguments, **claims), SETTINGS).to_pylist()[0]


def test_each_side_of_a_parallel_pair_is_judged_by_itself():
    row = measured(ENGLISH, GERMAN, "parallel")
    assert (row["query_language"], row["positive_language"]) == ("eng_Latn", "deu_Latn")
    assert 0.9 < row["query_language_probability"] <= 1
    assert 0.9 < row["positive_language_probability"] <= 1


def test_a_short_title_is_judged_with_its_body():
    row = measured("Index", GERMAN)
    assert row["query_language"] == "deu_Latn"
    assert row["query_language_probability"] == row["positive_language_probability"]


def test_a_japanese_title_without_kana_is_judged_with_its_body():
    body = "県内一帯では普通列車の本数が少なく、一時間に一本ほどしか走っていない区間もあります。"
    claims = {"query_lang": "jpn_Jpan", "positive_lang": "jpn_Jpan"}
    row = measured("地方都市交通 歴史的経緯 > 鉄道路線網", body, **claims)
    assert (row["query_language"], row["positive_language"]) == ("jpn_Jpan", "jpn_Jpan")
    assert measured("地方都市交通 歴史的経緯 > 鉄道路線網", body)["query_language"].startswith("zho")
    chinese = "这里的普通列车班次很少，有些区间大约每小时只有一班车，旅客需要提前查询时刻表。"
    assert measured("地方都市交通 歴史的経緯 > 鉄道路線網", chinese, **claims)["positive_language"].startswith("zho")


def test_a_short_side_across_languages_is_not_judged():
    row = measured("Open", GERMAN, "parallel", query_lang="eng_Latn", positive_lang="deu_Latn")
    assert row["query_language"] is None
    assert row["query_language_probability"] is None
    assert row["positive_language"] == "deu_Latn"
    across = measured("Open", GERMAN, "title_body", query_lang="eng_Latn", positive_lang="deu_Latn")
    assert across["query_language"] is None


def test_two_sides_too_short_together_are_not_judged():
    row = measured("Open", "File")
    assert set(row.values()) == {None}


def test_seven_chinese_characters_are_enough():
    row = measured("委员会将于月底公布", GERMAN, "parallel")
    assert row["query_language"] == "zho_Hans"


def test_a_text_in_a_language_the_model_does_not_know_is_not_judged():
    row = measured(ENGLISH, GERMAN, query_lang="bam_Latn", positive_lang="deu_Latn")
    assert row["query_language"] is None
    assert row["positive_language"] == "deu_Latn"


def test_traditional_and_simplified_chinese_are_told_apart():
    row = measured("這個問題對我們來說還沒有解決的辦法", "这个问题对我们来说还没有解决的办法", "parallel")
    assert (row["query_language"], row["positive_language"]) == ("zho_Hant", "zho_Hans")


def test_serbian_in_latin_letters_gets_its_script():
    row = measured(
        "Одбор ће објавити своје налазе крајем месеца у Београду.",
        "Odbor će objaviti svoje nalaze krajem meseca u Beogradu.",
    )
    assert row["query_language"].endswith("_Cyrl")
    assert row["positive_language"].endswith("_Latn")
    assert language_group(row["query_language"]) == language_group(row["positive_language"]) == "hbs"


def with_answers(monkeypatch, *answers):
    """A model that gives the first text the first answer, and so on; returns the texts it was asked for."""
    labels, chances = zip(*answers, strict=True)
    seen = []

    def predict(texts):
        seen.extend(texts.to_pylist())
        return np.arange(len(texts), dtype=np.int32), np.array(chances[: len(texts)], np.float32)

    monkeypatch.setattr(language, "load_language_model", lambda path: LanguageModel(labels, predict))
    return seen


def test_han_without_kana_is_chinese_and_much_kana_is_japanese(monkeypatch):
    with_answers(monkeypatch, ("__label__ja", 0.9), ("__label__zh", 0.9))
    row = measured("委员会将于月底公布调查结果", "委員会は月末に調査結果を公表します", "parallel")
    assert (row["query_language"], row["positive_language"]) == ("zho_Hans", "jpn_Jpan")


def test_a_text_of_han_is_chinese_whatever_the_model_says(monkeypatch):
    with_answers(monkeypatch, ("__label__vi", 0.9), ("__label__yue", 0.9))
    row = measured("委员会将于月底公布调查结果", "委員會將於月底公佈調查結果", "parallel")
    assert (row["query_language"], row["positive_language"]) == ("zho_Hans", "yue_Hant")


def test_labels_with_a_script_are_taken_and_probabilities_end_at_one(monkeypatch):
    with_answers(monkeypatch, ("__label__eng_Latn", 1.00005), ("__label__deu_Latn", 0.5))
    row = measured(ENGLISH, GERMAN, "parallel")
    assert row["query_language"] == "eng_Latn"
    assert row["query_language_probability"] == 1
    assert row["positive_language"] == "deu_Latn"


def test_the_wikipedia_named_als_is_alemannic_not_albanian(monkeypatch):
    with_answers(monkeypatch, ("__label__als", 0.9), ("__label__sq", 0.9))
    row = measured(ENGLISH, GERMAN, "parallel")
    assert (row["query_language"], row["positive_language"]) == ("gsw_Latn", "sqi_Latn")


def test_only_the_beginning_of_a_text_is_judged(monkeypatch):
    seen = with_answers(monkeypatch, ("__label__en", 0.9), ("__label__de", 0.9))
    measure_language(pair(ENGLISH, "x y\n" * 300, "parallel"), LanguageSettings(max_characters=100))
    assert seen == [ENGLISH, ("x y " * 300)[:100]]


def test_a_pair_that_is_judged_together_is_judged_once(monkeypatch):
    seen = with_answers(monkeypatch, ("__label__en", 0.9))
    measure_language(pair("Index", "x y\n" * 300), LanguageSettings(max_characters=100))
    assert seen == [("Index " + "x y " * 300)[:100]]


def test_where_the_model_knows_nothing_the_language_is_unknown(monkeypatch):
    def predict(texts):
        return np.full(len(texts), -1, np.int32), np.zeros(len(texts), np.float32)

    monkeypatch.setattr(language, "load_language_model", lambda path: LanguageModel(("__label__en",), predict))
    row = measured(ENGLISH, GERMAN, "parallel")
    assert row["query_language"] == row["positive_language"] == "und"
    assert row["query_language_probability"] == row["positive_language_probability"] == 0


def test_pairs_of_every_kind_in_one_batch_are_measured_as_alone():
    pairs = [
        pair(ENGLISH, GERMAN, "parallel"),
        pair("Index", GERMAN),
        pair("Open", "File"),
        pair("Open", GERMAN, "parallel", query_lang="eng_Latn", positive_lang="deu_Latn"),
        pair(GERMAN, ENGLISH, query_lang="bam_Latn"),
        pair("委员会将于月底公布", "Seite", "paraphrase"),
        pair(GERMAN, "委员会将于月底公布", "parallel"),
        pair("Titel", "委員会は月末に調査結果を公表します", positive_lang="bam_Latn"),
    ]
    batch = pa.Table.from_batches(pairs).combine_chunks().to_batches()[0]
    alone = [measure_language(one, SETTINGS).to_pylist()[0] for one in pairs]
    assert measure_language(batch, SETTINGS).to_pylist() == alone
    assert len({tuple(row.values()) for row in alone}) == len(pairs)


def test_a_batch_without_rows_has_no_measurements():
    assert measure_language(pair(ENGLISH, GERMAN).slice(0, 0), SETTINGS).num_rows == 0


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("arb_Arab", "ara_Arab"),
        ("zho_Hant", "cmn_Hans"),
        ("yue_Hant", "zho_Hans"),
        ("zsm_Latn", "ind_Latn"),
        ("nob_Latn", "nor_Latn"),
        ("als_Latn", "sqi_Latn"),
        ("lvs_Latn", "lav_Latn"),
        ("prs_Arab", "fas_Arab"),
        ("bho_Deva", "hin_Deva"),
    ],
)
def test_variants_of_one_language_are_one_group(left, right):
    assert language_group(left) == language_group(right)


def test_neighbouring_languages_are_two_groups():
    assert len({language_group(code) for code in ("por_Latn", "spa_Latn", "glg_Latn", "und", "jpn_Jpan")}) == 5


def test_a_missing_model_says_where_to_get_one(tmp_path):
    with pytest.raises(LanguageModelError, match=r"does not exist.*glotlid"):
        measure_language(pair(ENGLISH, GERMAN), LanguageSettings(model=str(tmp_path / "lid.bin")))


def test_a_file_that_is_no_model_is_refused(tmp_path):
    (tmp_path / "lid.bin").write_bytes(b"not a model" * 100)
    with pytest.raises(LanguageModelError, match="not a supervised fastText model"):
        measure_language(pair(ENGLISH, GERMAN), LanguageSettings(model=str(tmp_path / "lid.bin")))


def test_the_models_hash_is_that_of_its_bytes(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert language_model_sha256(LanguageSettings(model=str(tmp_path / "a"))) == empty
    assert len(language_model_sha256(SETTINGS)) == 64
