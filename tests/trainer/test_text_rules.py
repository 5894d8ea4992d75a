import numpy as np
import pyarrow as pa

from trainer import text_rules
from trainer.ragged import Ragged
from trainer.text_rules import TEXT_REASONS, TextRules

PASSAGES = pa.array([
    "The harbour of Oslo freezes in very cold winters.",  # 0: the positive
    "the harbour of oslo freezes in VERY cold winters",  # 1: the same words
    "As we said: the harbour of Oslo freezes in very cold winters. Not in others.",  # 2: holds it
    "harbour of Oslo freezes in very cold",  # 3: is held
    "Oslo",  # 4: is held, but too short to say anything
    "When does the harbour freeze?",  # 5: the query
    "Ships go round in the ice of January 1987.",  # 6: has the answer
    "Something else altogether, from 19871.",  # 7
    "第二天奥斯陆的港口在非常寒冷的冬天里结冰了，船只不能出海。",  # 8: the other positive
    "奥斯陆的港口在非常寒冷的冬天里结冰了",  # 9: is held in it
    "奥斯陆",  # 10: too short
])  # fmt: skip


def faults(pairs, *, contained=True, answers=None):
    queries, rows = (np.array(side) for side in zip(*pairs, strict=True))
    rules = TextRules(
        lambda wanted: PASSAGES.take(pa.array(wanted)),
        pa.array(["When does the harbour freeze", "奥斯陆的港口何时结冰"]),
        Ragged.of([[0], [0, 8]]),
        None if answers is None else pa.array(answers, pa.list_(pa.string())),
        contained=contained,
    )
    names = [*TEXT_REASONS, None]
    return [names[number] for number in rules.find_faults(queries, rows)]


def test_what_holds_a_positive_or_is_held_in_it_or_says_the_same_is_found():
    found = faults([(0, row) for row in range(8)])
    assert found[1:] == ["says_the_same", "contained", "contained", None, "says_the_same", None, None]


def test_all_positives_count_and_scripts_without_spaces_too():
    assert faults([(1, 2), (1, 9), (1, 10), (0, 9)]) == ["contained", "contained", None, None]


def test_an_answer_is_found_as_whole_words_for_its_own_query():
    answers = [["January, 1987", "never"], ["冷的冬"]]
    found = faults([(0, 6), (0, 7), (1, 6), (0, 8), (1, 8)], contained=False, answers=answers)
    assert found == ["has_answer", None, None, None, "has_answer"]
    assert faults([(0, 6), (1, 6)], answers=[None, ["1987"]]) == [None, "has_answer"]


def test_contained_texts_stay_where_the_rule_is_off():
    assert faults([(0, 2)], contained=False, answers=[[], []]) == [None]


def test_the_pairs_looked_at_together_do_not_matter(monkeypatch):
    pairs = [(query, row) for row in range(len(PASSAGES)) for query in (1, 0)]
    whole = faults(pairs, answers=[["1987"], ["ice", "非常"]])
    for limit, small in (("_PAIRS_AT_ONCE", 3), ("_BYTES_AT_ONCE", 300), ("_COMPARED_AT_ONCE", 3)):
        with monkeypatch.context() as patched:
            patched.setattr(text_rules, limit, small)
            assert faults(pairs, answers=[["1987"], ["ice", "非常"]]) == whole
