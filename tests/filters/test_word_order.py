import random

import numpy as np
import pyarrow as pa
import pytest

from filters import word_order_loops as loops
from filters.word_order import (
    MAX_WORDS,
    MIN_WORDS,
    SHUFFLES,
    WEIGHT_UNIT,
    WordOrderModel,
    character_tables,
    measure_word_order,
    read_model,
    write_model,
)
from filters.word_order_training import TrainingSettings, train_model

TEXTS = {
    "English": "The old harbour was closed for two years because the walls had to be repaired. When it was opened again, "
    "the fishermen came back with their boats, and on the first Sunday there was a market on the quay.",
    "German": "Der alte Hafen war zwei Jahre lang geschlossen, weil die Mauern ausgebessert werden mussten. Als er wieder "
    "geöffnet wurde, kamen die Fischer mit ihren Booten zurück, und am ersten Sonntag war auf dem Kai ein Markt.",
    "Russian": "Старая гавань была закрыта два года, потому что нужно было отремонтировать стены. Когда её снова открыли, "
    "рыбаки вернулись со своими лодками, и в первое воскресенье на набережной был рынок.",
    "Arabic": "أغلق الميناء القديم لمدة عامين لأنه كان لا بد من إصلاح الجدران. وعندما تم فتحه مرة أخرى، عاد الصيادون مع "
    "قواربهم، وفي يوم الأحد الأول كان هناك سوق على الرصيف في وسط المدينة.",
    "Japanese": "古い港は壁を修理しなければならなかったため、二年間閉鎖されていました。再び開かれたとき、漁師たちは自分の船で戻って"
    "きました。最初の日曜日には、岸壁で市場が開かれました。",
    "Chinese": "这个旧的港口因为需要修理而关闭了两年。在它重新开放的时候，人们可以使用自己的船回来，并且在第一个星期天，这里有一个市场。"
    "如果您想要了解更多的信息，可以在这个页面中查看。",
    "Greek": "Το παλιό λιμάνι ήταν κλειστό για δύο χρόνια, επειδή έπρεπε να επισκευαστούν τα τείχη. Όταν άνοιξε ξανά, οι "
    "ψαράδες επέστρεψαν με τις βάρκες τους και την πρώτη Κυριακή υπήρχε μια αγορά στην προβλήτα.",
    "Vietnamese": "Bến cảng cũ đã bị đóng cửa trong hai năm vì các bức tường phải được sửa chữa. Khi nó được mở lại, các "
    "ngư dân đã trở về với thuyền của họ, và vào ngày chủ nhật đầu tiên có một phiên chợ trên bến.",
}


def scores(texts: list[str | None], model: WordOrderModel | None = None) -> list[float | None]:
    return measure_word_order(pa.array(texts, pa.string()), model)["word_order"].to_pylist()


def shuffled(text: str, seed: int) -> str:
    parts = text.split() if " " in text else list(text)
    random.Random(seed).shuffle(parts)
    return (" " if " " in text else "").join(parts)


def blank_model() -> WordOrderModel:
    return WordOrderModel(np.zeros(64, np.uint16), np.zeros(64, np.int8), np.zeros(loops.PLACES, np.int8))


@pytest.mark.parametrize("language", TEXTS)
def test_text_is_told_from_its_own_words_in_another_order(language):
    text = TEXTS[language]
    mixed = [shuffled(text, seed) for seed in range(10)]
    own, *others = scores([text, *mixed])
    assert own > -0.15
    assert own > max(other for other in others if other is not None)


def test_short_texts_and_languages_without_a_model_are_null():
    words = TEXTS["English"].split()[:MIN_WORDS]
    assert scores([" ".join(words[1:])]) == [None]
    assert scores([" ".join(words)]) != [None]
    thai = "ท่าเรือเก่าถูกปิดเป็นเวลาสองปีเพราะต้องซ่อมแซมกำแพงเมื่อเปิดอีกครั้งชาวประมงก็กลับมาพร้อมเรือของพวกเขา"
    amharic = (
        "አሮጌው ወደብ ግድግዳዎቹ መጠገን ስለነበረባቸው ለሁለት ዓመታት ተዘግቶ ነበር። እንደገና ሲከፈት ዓሣ አጥማጆቹ ተመለሱ፣ በመጀመሪያው እሑድም በወደቡ ላይ ገበያ ነበር።"
    )
    assert scores([thai, amharic * 2, "", None, "😀 " * 50]) == [None] * 5


def test_case_and_punctuation_tell_in_a_language_that_the_model_does_not_know():
    esperanto = (
        "La malnova haveno estis fermita dum du jaroj, ĉar la muroj devis esti riparitaj. Kiam ĝi estis denove malfermita,"
        " la fiŝkaptistoj revenis kun siaj boatoj, kaj en la unua dimanĉo estis bazaro sur la kajo."
    )
    own, *others = scores([esperanto, *(shuffled(esperanto, seed) for seed in range(10))])
    assert all(other < own for other in others)


def test_the_order_of_shapes_and_signs_is_weighed_by_hand():
    # Every place of the text is one of: a-b (lower, lower), b.-C (end, capital), C-a (capital, lower).
    text = "a b. C " * 10
    model = blank_model()
    lower, ends, capital = 1 * 15, 1 * 15 + 1, 2 * 15  # shape, nothing before, nothing or an end after
    for left, right, weight in ((lower, ends, 10), (ends, capital, 24), (capital, lower, -48)):
        model.place_weights[left * loops.EDGES + right] = weight
    # A text is only judged where the language is known: one feature is.
    features, _ = loops.features_of_texts(*buffers([text]), *character_tables(), False, 0)
    slots = loops.fill_table(features[:1, 0].copy(), model.marks)
    model.weights[slots[0]] = 7
    expected = (10 * (10 + 7) + 10 * 24 - 9 * 48) / 29 * WEIGHT_UNIT + np.log(SHUFFLES)
    assert scores([text], model) == [pytest.approx(expected, abs=1e-6)]


def test_words_are_cut_by_hand():
    tables = character_tables()
    cases = {
        "one, Two. (THREE) 4": [1 * 15 + 2, 2 * 15 + 1, 3 * 15 + 5 + 3, 4 * 15],
        "don't — end?»": [1 * 15, 0, 1 * 15 + 1],
        "我用Debian。": [5 * 15, 5 * 15, 2 * 15 + 1],
        "你好。": [5 * 15, 5 * 15, 1],
        "ไทยก่": [5 * 15] * 4,
    }
    for text, expected in cases.items():
        (start, end), data = buffers([text])
        words, endings, edges = np.zeros(50, np.uint64), np.zeros(50, np.uint64), np.zeros(50, np.uint8)
        count = loops.cut_words(data, start, end, *tables, words, endings, edges)
        assert edges[:count].tolist() == expected, text
    one, two, *_ = words_of("Word, (word) WORD")
    assert one == two


def test_only_the_beginning_of_a_long_text_counts():
    text = " ".join([TEXTS["English"]] * 40)
    beginning = " ".join(text.split()[:MAX_WORDS])
    assert scores([text + " the" * 100_000]) == scores([beginning])


def test_a_model_survives_being_written_and_another_file_is_refused():
    model = train_model({"x": ["a b c d"] * 4}, TrainingSettings(features=4, slots=8))
    again = read_model(write_model(model))
    for name in ("marks", "weights", "place_weights"):
        np.testing.assert_array_equal(getattr(model, name), getattr(again, name))
    with pytest.raises(ValueError, match="no model of word order"):
        read_model(write_model(WordOrderModel(model.marks, model.weights[:3], model.place_weights)))
    with pytest.raises(ValueError, match="no model of word order"):
        read_model(b"something else")


def test_training_learns_the_order_of_an_invented_language():
    chance = random.Random(0)
    nouns, verbs, ends = (["".join(chance.choices("abcdefgh", k=5)) for _ in range(30)] for _ in range(3))

    def sentence() -> str:
        return f"{chance.choice(nouns)} {chance.choice(verbs)} ka {chance.choice(ends)}"

    texts = [" ".join(sentence() for _ in range(12)) for _ in range(300)]
    settings = TrainingSettings(features=3000, slots=1 << 13)
    model = train_model({"invented": texts[:200]}, settings)
    held_out = texts[200:]
    told = np.array(scores(held_out, model)) > np.array(scores([shuffled(text, 1) for text in held_out], model))
    assert told.all()
    again = train_model({"invented": texts[:200]}, settings)
    np.testing.assert_array_equal(model.weights, again.weights)


def buffers(texts: list[str]):
    from filters.text_quality import utf8_buffers

    return utf8_buffers(pa.array(texts))


def words_of(text: str) -> list[int]:
    (start, end), data = buffers([text])
    words, endings, edges = np.zeros(50, np.uint64), np.zeros(50, np.uint64), np.zeros(50, np.uint8)
    count = loops.cut_words(data, start, end, *character_tables(), words, endings, edges)
    return words[:count].tolist()
