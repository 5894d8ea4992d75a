"""What counts as a paragraph of a document, and which of them are chosen."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from synth.paragraphs import (
    REASONS,
    ParagraphSettings,
    choose_paragraphs,
    paragraph_text,
    paragraphs,
    paragraphs_in_turn,
    rejected_blocks,
)
from synth.prose import sentences, why_no_prose

SMALL = ParagraphSettings(min_characters=60, max_characters=400)
NEWLINE = "\n"
PROSE = (
    "The harbour was built in two winters by masons who came from the north. They cut the stone on the island itself, "
    "because no ship could carry blocks of that size across the sound."
)
SECOND = (
    "Every spring the keepers painted the tower white. In the year of the great storm the paint froze on the brushes, and the "
    "work was finished in June."
)


def found(text, settings=SMALL, sections=None):
    return [paragraph_text(text, start, end) for start, end in paragraphs(text, sections, settings)]


def wrap(text, width=60, indent=""):
    lines, line = [], ""
    for word in text.split():
        if len(line) + len(word) + 1 > width:
            lines.append(indent + line)
            line = word
        else:
            line = f"{line} {word}".strip()
    return "\n".join([*lines, indent + line])


def test_wrapped_lines_are_one_paragraph_up_to_a_blank_line():
    text = f"{wrap(PROSE)}\n\n{wrap(SECOND)}\n"
    assert found(text) == [PROSE, SECOND]


def test_each_line_is_a_paragraph_where_lines_are_long():
    assert found(f"{PROSE}\n{SECOND}\n") == [PROSE, SECOND]


def test_positions_are_those_of_the_text():
    text = f"# Harbour\n\n{wrap(PROSE)}\n\n- a\n- b\n"
    [(start, end)] = paragraphs(text, None, SMALL)
    assert text[start:end] == wrap(PROSE)


def test_short_neighbours_are_joined_until_they_are_long_enough():
    short = ["The lamp burned oil at first.", "It was changed to gas in 1871.", "Since 1930 it has been electric."]
    # 29 + 1 + 30 characters are enough; the third sentence is left alone.
    assert found("\n".join([PROSE, SECOND, *short])) == [PROSE, SECOND, " ".join(short[:2])]
    assert rejected_blocks("\n".join([PROSE, SECOND, *short]), None, SMALL)["too_short"] == 1


def test_neighbours_are_not_joined_across_a_heading():
    lines = [PROSE, SECOND, "The lamp burned oil at first.", "Gas", "It was changed to gas in 1871."]
    assert found("\n".join(lines)) == [PROSE, SECOND]


def test_long_blocks_are_cut_at_ends_of_sentences():
    text = " ".join(
        f"Sentence number {word} tells of the tower and its keepers."
        for word in ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    )
    pieces = found(text, ParagraphSettings(min_characters=60, max_characters=200))
    assert len(pieces) > 1
    assert all(piece.startswith("Sentence") and piece.endswith("keepers.") and len(piece) <= 200 for piece in pieces)
    assert " ".join(pieces) == text


@pytest.mark.parametrize(
    ("kind", "block"),
    [
        ("heading", "The building of the harbour"),
        (
            "list",
            "- first the stone, which was cut on the island itself by the masons\n- then the timber that came by ship in spring",
        ),
        (
            "list",
            "1. Remove the cover of the lamp and put it where nobody steps on it.\n2. Clean the lens with a soft cloth and water.",
        ),
        (
            "table",
            "| year | ships | tons of herring landed |\n|------|-------|------------------------|\n| 1871 | 12 | 340 |",
        ),
        ("table", "+--------+---------+\n|directory|  usage of the directory  |\n+--------+---------+"),
        ("code", "```\nfor tower in harbour:\n    print(tower.height, tower.keepers, tower.light)\n```"),
        ("code", "$ chown newowner foo && chgrp newgroup foo\n$ chmod -R ug+rwX,o=rX ./some/location/of/files"),
        (
            "list",
            "10 лютого — Ежен Мішель, французький астроном. 13 березня — Василь Іванович, мовознавець. 8 травня — Анна, співачка.",
        ),
        (
            "markup",
            "\\*1) From January on less than 250 of them. \\*2) From February on less than 420 where it can be done.",
        ),
        ("menu", "Home > Harbours > North coast > Lighthouses > Opening hours > How to get there."),
        ("menu", "The harbour ........ 12 The tower ........ 19 The keepers of the light ........ 31."),
        (
            "boilerplate",
            "Copyright 2004 by the society of friends of the harbour. All rights reserved, also those of translation.",
        ),
        (
            "boilerplate",
            "Wir verwenden Cookies, um Inhalte zu personalisieren. Mehr dazu in unserer Datenschutzerklärung auf der letzten Seite.",
        ),
        (
            "references",
            "See https://harbour.example/history/of/the/tower and https://harbour.example/history/of/the/keepers for more.",
        ),
        (
            "unfinished",
            "The keepers of the light had three duties every night of the year, which were the following ones:",
        ),
        (
            "unfinished",
            "and it was finished in June, when the days were long enough to paint until nearly midnight on the tower.",
        ),
        (
            "capitals",
            "NO PART OF THE TOWER MAY BE ENTERED WITHOUT THE KEEPER. THE KEEPER IS NOT LIABLE FOR ANY FALL OR LOSS.",
        ),
        (
            "markup",
            "The tower {{convert|31|m|ft}} was built in two winters by masons who came from the north of the country.",
        ),
    ],
)
def test_what_is_no_prose_is_no_paragraph(kind, block):
    text = f"{wrap(PROSE)}\n\n{block if NEWLINE in block else wrap(block)}\n\n{wrap(SECOND)}\n"
    assert found(text) == [PROSE, SECOND]
    assert rejected_blocks(text, None, SMALL)[kind] >= 1


def test_what_stands_under_references_is_left_out_until_the_next_heading():
    text = f"## Harbour\n\n{wrap(PROSE)}\n\n## References\n\n{wrap(SECOND)}\n\n## Tower\n\n{wrap(SECOND)}\n"
    assert found(text) == [PROSE, SECOND]
    assert rejected_blocks(text, None, SMALL)["apparatus"] == 1


def test_headings_are_known_from_the_sections_of_the_document():
    heading = "How the keepers of the light lived in the years before the bridge was built, and what they ate and drank in winter"
    text = f"{PROSE}\n\n{heading}\n{SECOND}"
    start = text.index(heading)
    sections = [
        {"path": "", "start": 0, "end": start - 2},
        {"path": f"Life > {heading}", "start": start, "end": len(text)},
    ]
    assert found(text, sections=sections) == [PROSE, SECOND]


def test_front_matter_is_no_paragraph():
    text = f"---\ntitle: Harbour\nnote: {PROSE}\n---\n{wrap(SECOND)}\n"
    assert found(text) == [SECOND]


def test_numbered_subsections_of_statutes_are_prose_and_their_lists_are_not():
    subsection = (
        "(2) Die Erlaubnis ist zu widerrufen, wenn der Leuchtturm länger als ein Jahr nicht betrieben worden ist. Die Frist "
        "kann auf Antrag um ein Jahr verlängert werden."
    )
    text = f"### § 4 Widerruf\n\n{wrap(subsection)}\n\n(3) Der Betreiber hat\n\n1.  den Turm zu unterhalten,\n\n2.  das Licht zu warten.\n"
    assert found(text) == [subsection]


@pytest.mark.parametrize(
    "prose",
    [
        "بُني الميناء في شتاءين على يد بنائين قدموا من الشمال. وقد قطعوا الحجارة في الجزيرة نفسها لأن أي سفينة لم تكن قادرة على حملها.",
        "Der Hafen wurde in zwei Wintern von Maurern gebaut, die aus dem Norden kamen. Sie schlugen den Stein auf der Insel selbst.",
        "Le port fut construit en deux hivers par des maçons venus du nord. Ils taillaient la pierre sur l'île elle-même.",
        "El puerto fue construido en dos inviernos por albañiles que vinieron del norte. Cortaron la piedra en la propia isla.",
        "Il porto fu costruito in due inverni da muratori venuti dal nord. Tagliarono la pietra sull'isola stessa, vicino al faro.",
        "O porto foi construído em dois invernos por pedreiros que vieram do norte. Cortaram a pedra na própria ilha, junto ao farol.",
        "Гавань построили за две зимы каменщики, которые пришли с севера. Камень они тесали прямо на острове, у самого маяка.",
        "बंदरगाह को उत्तर से आए राजमिस्त्रियों ने दो सर्दियों में बनाया। उन्होंने पत्थर को द्वीप पर ही काटा, क्योंकि कोई जहाज उसे नहीं ला सकता था।",
        "港は北から来た石工たちによって二度の冬をかけて築かれた。彼らは石を島で切り出した。それほど大きな石を運べる船がなかったからである。",
        "항구는 북쪽에서 온 석공들이 두 해 겨울에 걸쳐 지었다. 그렇게 큰 돌을 실을 수 있는 배가 없었기 때문에 그들은 섬에서 직접 돌을 잘랐다.",
        "ท่าเรือแห่งนั้นสร้างขึ้นในฤดูหนาวสองปีโดยช่างหินที่มาจากทางเหนือ พวกเขาตัดหินบนเกาะเพราะไม่มีเรือลำใดขนหินขนาดใหญ่เช่นนั้นได้",
        "这座港口由来自北方的石匠用了两个冬天建成。他们在岛上就地开采石料，因为没有一艘船能运来那么大的石块。",
    ],
)
def test_prose_is_prose_in_every_language_of_mldr(prose):
    assert why_no_prose([prose]) == [None]
    assert found(f"{prose}\n{prose[:-2]}。\n{prose}") != []


def test_lines_of_japanese_are_joined_without_a_space():
    text = "港は北から来た石工たちによって\n    二度の冬をかけて築かれた。\n"
    assert paragraph_text(text, 0, len(text)) == "港は北から来た石工たちによって二度の冬をかけて築かれた。"


def test_folded_text_is_cut_at_sentences_and_its_lists_are_left_out():
    listed = "1.1. What is a tower? 1.2. What is a light? 1.3. Who are the keepers? 1.4. Who pays them?"
    text = " ".join([PROSE, SECOND] * 3 + [listed] * 6 + [PROSE, SECOND] * 3)
    pieces = found(text, ParagraphSettings(min_characters=100, max_characters=300))
    assert len(pieces) >= 4
    assert not any("1.2." in piece for piece in pieces)


def test_paragraphs_are_spread_over_the_parts_of_a_document():
    text = "\n".join(f"Chapter {number} tells of the harbour in year {number}. {PROSE}" for number in range(100))
    chosen = choose_paragraphs(
        "d", text, None, ParagraphSettings(min_characters=60, max_characters=400, per_document=5, strata=5)
    )
    assert [5 * paragraph.start // len(text) for paragraph in chosen] == [0, 1, 2, 3, 4]
    six = choose_paragraphs(
        "d", text, None, ParagraphSettings(min_characters=60, max_characters=400, per_document=6, strata=5)
    )
    assert set(chosen) < set(six)


def test_all_paragraphs_come_in_the_order_in_which_they_are_chosen():
    text = "\n".join(f"Chapter {number} tells of the harbour in year {number}. {PROSE}" for number in range(30))
    in_turn = paragraphs_in_turn("d", text, None, SMALL)
    assert sorted(place[1:] for place in in_turn) == paragraphs(text, None, SMALL)
    for count in (1, 4, 7):
        settings = SMALL.model_copy(update={"per_document": count})
        assert choose_paragraphs("d", text, None, settings) == sorted(in_turn[:count])


def test_over_many_documents_every_part_is_chosen_about_as_often():
    text = "\n".join(f"Chapter {number} tells of the harbour in year {number}. {PROSE}" for number in range(20))
    settings = ParagraphSettings(min_characters=60, max_characters=400, strata=4)
    parts = Counter(4 * choose_paragraphs(f"d{n}", text, None, settings)[0].start // len(text) for n in range(200))
    assert set(parts) == {0, 1, 2, 3}
    assert min(parts.values()) > 30


def test_the_choice_goes_by_document_and_seed_alone():
    text = "\n".join(f"Chapter {number} tells of the harbour in year {number}. {PROSE}" for number in range(30))
    settings = ParagraphSettings(min_characters=60, max_characters=400)
    assert choose_paragraphs("d", text, None, settings) == choose_paragraphs("d", text, None, settings)
    seeds = {choose_paragraphs("d", text, None, settings.model_copy(update={"seed": seed}))[0] for seed in range(9)}
    assert len(seeds) > 3


def test_nothing_is_asked_about_what_a_trainer_does_not_read():
    text = "\n".join(f"Chapter {number} tells of the harbour in year {number}. {PROSE}" for number in range(30))
    settings = ParagraphSettings(min_characters=60, max_characters=400, first_characters=500, per_document=9)
    assert choose_paragraphs("d", text, None, settings)
    assert all(paragraph.end <= 500 for paragraph in choose_paragraphs("d", text, None, settings))


def test_a_document_of_nothing_but_lists_has_no_paragraph():
    assert choose_paragraphs("d", "- one\n- two\n- three\n" * 40, None, SMALL) == []
    assert choose_paragraphs("d", "", None, SMALL) == []


def test_sentences_do_not_end_at_abbreviations_and_initials():
    text = "Dr. J. Smith came in. He left at 5. Then nothing happened."
    assert [text[start:end] for start, end in sentences(text)] == [
        "Dr. J. Smith came in.",
        "He left at 5. Then nothing happened.",
    ]


@given(st.text(st.sampled_from("Ab .\n-|#。?1()ก漢"), max_size=400))
def test_whatever_the_text_candidates_lie_in_it_apart_and_in_order(text):
    settings = ParagraphSettings(min_characters=5, max_characters=50)
    places = [place for pair in paragraphs(text, None, settings) for place in pair]
    assert places == sorted(places)
    assert all(0 <= place <= len(text) for place in places)
    assert set(rejected_blocks(text, None, settings)) <= set(REASONS)


def test_bounds_out_of_order_are_refused():
    with pytest.raises(ValueError, match="min_characters"):
        ParagraphSettings(min_characters=10, max_characters=5)
