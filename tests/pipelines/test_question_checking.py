"""What decides about questions beside synth's own checks: ranks, near-duplicates, languages."""

import numpy as np
import pyarrow as pa

from filters.language import LanguageSettings
from filters.near_duplicates import NearDuplicateSettings
from pipelines.question_checking import (
    AskedAbout,
    groups_told_apart,
    identified_groups,
    identified_languages,
    near_duplicates,
    order_of_keeping,
    round_trip_ranks,
)
from pipelines.synthesize_settings import RoundTrip
from trainer.encoder import EncoderSettings


class TableOfVectors:
    """Stands in for the embedding store: the vectors of texts, from a table."""

    def __init__(self, vectors):
        self.vectors = vectors

    def embed(self, settings, role, texts, on_batch):
        return np.array([self.vectors[role, text] for text in texts.to_pylist()], np.float16)


def random_case(seed):
    """Documents of some paragraphs each, of which some are asked about; a few texts stand in two documents."""
    rng = np.random.default_rng(seed)
    of_documents = {f"doc{n}": [f"paragraph {n} {p}" for p in range(rng.integers(1, 6))] for n in range(8)}
    of_documents["doc1"].append(of_documents["doc0"][0])
    asked = [
        (document, text, "deu" if int(document[3:]) % 2 else "eng")
        for document, texts in of_documents.items()
        for text in texts
        if rng.random() < 0.6
    ]
    vectors = {("passage", text): rng.normal(size=8) for texts in of_documents.values() for text in texts}
    vectors |= {("query", f"question {row}"): rng.normal(size=8) for row in range(len(asked))}
    about = AskedAbout(
        [f"{rng.integers(1 << 40):016x}" for _ in asked],
        pa.array([f"question {row}" for row in range(len(asked))]),
        pa.array([text for _, text, _ in asked]),
        [document for document, _, _ in asked],
        [language for _, _, language in asked],
    )
    return about, of_documents, vectors


def test_ranks_are_those_of_counting_one_by_one():
    for seed in range(20):
        asked, of_documents, vectors = random_case(seed)
        settings = RoundTrip(encoder=EncoderSettings(model="m"), pool=5)
        ranks = round_trip_ranks(asked, of_documents, settings, TableOfVectors(vectors), lambda rows: None)
        texts = asked.paragraphs.to_pylist()

        def score(question, text, vectors=vectors):
            sides = [np.float16(vectors[side]).astype(np.float64) for side in (("query", question), ("passage", text))]
            return np.float32(sides[0] @ sides[1])

        for row, question in enumerate(asked.questions.to_pylist()):
            own = score(question, texts[row])
            rivals = set(of_documents[asked.documents[row]])
            named = zip(asked.question_ids, texts, asked.languages, strict=True)
            same = sorted((name, text) for name, text, language in named if language == asked.languages[row])
            pool = {text for _, text in same[:5]}
            assert ranks[0][row] == 1 + sum(score(question, text) > own for text in rivals)
            assert ranks[1][row] == 1 + sum(score(question, text) > own for text in pool)


def test_of_near_duplicates_test_goes_before_dev_before_train_and_then_the_smaller_id():
    ids = pa.chunked_array([["d", "a", "c", "b"]])
    splits = pa.chunked_array([["train", "train", "test", "dev"]])
    assert order_of_keeping(ids, splits).tolist() == [3, 2, 0, 1]


def test_questions_that_say_nearly_the_same_are_found_whatever_their_order():
    questions = [
        "What did the council of the old harbour town spend the money of the toll on?",
        "How deep is the lake behind the dam?",
        "what did the council of the old harbour town spend the money of the toll on",
    ]
    for order, repeated in (([0, 1, 2], [False, False, True]), ([2, 1, 0], [True, False, False])):
        found = near_duplicates(pa.array(questions), np.array(order), NearDuplicateSettings())
        assert found.tolist() == repeated


def test_languages_are_told_with_script_and_as_groups():
    texts = pa.array(
        ["Welche Strafe droht dem, der eine Urkunde fälscht?", "哪一座灯塔的透镜是由菲涅耳设计的，它有多重？", "?"]
    )
    languages, sure = identified_languages(LanguageSettings())(texts)
    assert languages.to_pylist() == ["deu_Latn", "zho_Hans", "und"]
    assert sure[2] == 0 < min(sure[:2])
    groups, _ = identified_groups(LanguageSettings())(texts)
    assert groups.to_pylist() == ["deu", "zho", "und"]


def test_languages_that_the_model_never_names_are_not_compared():
    codes = ["eng_Latn", "zho_Hant", "qaa_Latn"]
    assert groups_told_apart(codes, LanguageSettings()).to_pylist() == ["eng", "zho", "und"]
    assert groups_told_apart(codes, None).to_pylist() == ["eng", "zho", "qaa"]
