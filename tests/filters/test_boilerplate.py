"""Boilerplate, placeholders and mojibake in many scripts against counts by hand."""

import gzip

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from filters.boilerplate import BOILERPLATE_MEASURES, measure_boilerplate
from filters.boilerplate_phrases import BOILERPLATE, PLACEHOLDERS, phrases_of
from filters.junk import JUNK_MEASURES, JunkSettings, measure_junk
from filters.mojibake import mojibake_share
from filters.phrases import PhraseFileError


def measured(text, **files):
    measures = measure_boilerplate(pa.array([text], pa.string()), **files)
    assert measures.schema == BOILERPLATE_MEASURES
    return measures.to_pylist()[0]


def mojibake(*texts):
    return mojibake_share(pa.array(texts)).to_pylist()


def read_wrongly(text, encoding):
    """UTF-8 bytes read in a one-byte encoding; bytes it leaves out become what Latin-1 has there."""
    characters = (bytes([byte]).decode(encoding, "ignore") or chr(byte) for byte in text.encode())
    return "".join(characters)


# Boilerplate


def test_the_share_is_of_letters_digits_and_symbols_inside_phrases():
    row = measured("© 2020 Foo. All rights reserved!")
    assert row["boilerplate_share"] == pytest.approx(17 / 25)


def test_case_accents_punctuation_and_line_breaks_make_no_difference():
    for text in (
        "ALLE RECHTE VORBEHALTEN",
        "Alle\nRechte - vorbehalten.",
        "Tous droits réservés",
        "tous droits reserves",
    ):
        assert measured(text)["boilerplate_share"] == 1


@pytest.mark.parametrize(
    "text",
    [
        "This website uses cookies to ensure you get the best experience on our website.",
        "Diese Website verwendet Cookies, um Inhalte und Anzeigen zu personalisieren.",
        "Este sitio web utiliza cookies propias y de terceros para mejorar su experiencia.",
        "Мы используем файлы cookie. Продолжая использовать сайт, вы соглашаетесь с использованием cookie.",
        "当サイトではCookieを使用しています。",
        "本网站使用Cookie。继续浏览本网站即表示您同意我们使用Cookie。",
        "이 웹사이트는 쿠키를 사용합니다.",
        "يستخدم هذا الموقع ملفات تعريف الارتباط لتحسين تجربتك",
        "เว็บไซต์นี้ใช้คุกกี้",
        "यह वेबसाइट कुकीज़ का उपयोग करती है।",
    ],
)
def test_cookie_lines_are_mostly_boilerplate(text):
    assert measured(text)["boilerplate_share"] > 0.5


@pytest.mark.parametrize(
    "text",
    [
        "An HTTP cookie is a small block of data created by a web server while a user is browsing a website.",
        "To log in, press Enter and type your password; the shell then reads its configuration.",
        "Der Keks ist ein haltbares Kleingebäck. Rechte und linke Hälfte sind gleich.",
        "La politique de la Ve République est marquée par la cohabitation.",
        "中国的历史悠久，有文字可考的历史约三千年。",
        "ภาษาไทยเป็นภาษาทางการของประเทศไทย",
        "",
        "。！？",
        "😀🎉",
    ],
)
def test_text_about_something_is_no_boilerplate(text):
    assert measured(text) == {"boilerplate_share": 0, "placeholder": False}


def test_phrases_match_whole_words_only():
    assert measured("hall rights reservedly")["boilerplate_share"] == 0
    assert measured("all rights reserve")["boilerplate_share"] == 0


def test_every_bundled_phrase_is_found_alone():
    phrases = phrases_of(BOILERPLATE)
    assert len(BOILERPLATE) >= 25
    share = measure_boilerplate(pa.array(phrases))["boilerplate_share"].to_numpy()
    assert (share == 1).all()
    placeholders = [text.removesuffix("...") for text in phrases_of(PLACEHOLDERS)]
    assert measure_boilerplate(pa.array(placeholders))["placeholder"].to_numpy(zero_copy_only=False).all()


# Placeholders


@pytest.mark.parametrize(
    "text",
    ["Untitled", "HOME", "N/A", "- Home -", "Untitled 2", "Page 3/4", "Untitled-1", "首页", "無題", "ホーム", "제목 없음",
     "Без названия", "Ohne Titel", "Sans titre", "الصفحة الرئيسية", "หน้าแรก", "Trang chủ", "Lorem ipsum dolor sit amet, x y",
     "404 Not Found", "TODO"],
)  # fmt: skip
def test_a_title_that_any_page_could_have_is_a_placeholder(text):
    assert measured(text)["placeholder"]


@pytest.mark.parametrize(
    "text",
    ["Home brewing", "Untitled 1 2 3", "Untitled 2b", "The untitled", "首页设计", "Lorem ipsum is a dummy text", "", "-", "1",
     "Test of time"],
)  # fmt: skip
def test_a_title_that_says_more_is_none(text):
    assert not measured(text)["placeholder"]


# Files


def test_more_phrases_come_from_files(tmp_path):
    phrases, placeholders = tmp_path / "phrases.txt", tmp_path / "placeholders.txt.gz"
    phrases.write_bytes("\ufeff# ours\n\nBrought to you by Foo\r\nПартнёрский материал\n".encode())
    placeholders.write_bytes(gzip.compress(b"Foo Inc.\n"))
    files = {"phrase_files": (str(phrases),), "placeholder_files": (str(placeholders),)}
    assert measured("Brought to you by FOO!", **files) == {"boilerplate_share": 1, "placeholder": False}
    assert measured("партнерский материал", **files)["boilerplate_share"] == 1
    assert measured("Foo, Inc", **files)["placeholder"]
    assert measured("All rights reserved", **files)["boilerplate_share"] == 1


def test_a_bad_file_is_named_with_its_line(tmp_path):
    latin, empty, marks = tmp_path / "latin.txt", tmp_path / "empty.txt", tmp_path / "marks.txt"
    latin.write_bytes("fine\ncafé\n".encode("latin-1"))
    empty.write_text("# nothing\n")
    marks.write_text("fine\n!!!\n")
    for file, expected in (
        (latin, "line 2"),
        (empty, "no phrase"),
        (marks, "Line 2"),
        (tmp_path / "none.txt", "none.txt"),
    ):
        with pytest.raises(PhraseFileError, match=expected) as error:
            measured("x", phrase_files=(str(file),))
        assert str(file) in str(error.value)


# Mojibake


SENTENCES = (
    "café crème déjà vu, naïve façade",
    "“Don’t,” she said – and left…",
    "Привет, мир",
    "Γειά σου Κόσμε",
    "שלום עולם",
    "مرحبا بالعالم",
    "Příliš žluťoučký kůň",
    "Łódź i Kraków",
    "Türkçe karışık ığdır",
    "日本語のテキスト",
    "नमस्ते दुनिया",
    "สวัสดี",
    "Tiếng Việt đẹp",
    "Ðað er íslenska",
    "😀 party",
    "25 °C, £5, © 2020",
)


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_utf8_read_as_a_western_encoding_is_seen_and_the_sound_text_is_not(text, encoding):
    assert mojibake(read_wrongly(text, encoding))[0] > 0.05
    assert mojibake(text) == [0]


def test_cyrillic_read_as_windows_1251_is_seen():
    assert mojibake(read_wrongly("Привет, дорогой мир", "cp1251"))[0] > 0.8
    assert mojibake(read_wrongly("It’s “fine”", "cp1251"))[0] > 0.4


def test_what_else_a_wrong_encoding_leaves_is_seen():
    broken = [
        "caf├®",  # code page 850
        "donÔÇÖt",
        "don‚Äôt",  # Mac Roman
        "锟斤拷锟斤拷",  # U+FFFD as GBK
        "鈥淗ello鈥?",
        "譁�蟄怜喧縺�",  # Shift-JIS
        "ï¿½ and ï»¿",
        "voilÃ tout",  # the no-break space went in normalisation
    ]
    assert all(share > 0 for share in mojibake(*broken))


@pytest.mark.parametrize(
    "text",
    ["CAFÉ» ET «É» À LA", "MENÜ–KARTE, Spaß… Fuß– muß«", "PERÒ» è… perché”»", "letra «Ã», MANHÃ… IRMÃ”", "ĐÃ… THÂN ÂU",
     "1.54Å±0.02", "СІРІ вовки, Рівне, РІС", "РЈЕЧНИК, СЈЕВЕР, ЋУПРИЈА", "Þór, Ðóra, Í°", "‚Äpfel‘ und", "├── src\n│   └── a",
     "3×²", "Ä…", "naïve coördinate", "Año «Ñ»", "D’ÊTRE… «ÎLE»", "ÃO NÃO PÃES", "Ça «va»", "ØRSTED–BUS", "Škoda ŽIŽKA…"],
)  # fmt: skip
def test_sound_text_that_looks_like_it_is_not(text):
    assert mojibake(text) == [0]


def test_the_share_is_of_all_characters():
    assert mojibake("cafÃ©") == [pytest.approx(2 / 5)]
    assert mojibake("donâ€™t") == [pytest.approx(3 / 7)]
    assert mojibake("", None) == [0, 0]


@given(st.text(alphabet=st.sampled_from("aZé ßÃ©â€™Ð¿РС“中\U0001f600"), max_size=30))
def test_any_characters_give_a_share(text):
    (share,) = mojibake(text)
    assert 0 <= share <= 1


# Together


def test_junk_is_measured_row_by_row_and_a_null_is_empty():
    texts = pa.array(["x", "Home", None, "All rights reserved. a@b.de", "cafÃ©"])
    for sliced in (texts, pa.concat_arrays([pa.array(["Untitled"]), texts]).slice(1), texts.cast(pa.large_string())):
        measures = measure_junk(sliced)
        assert measures.schema == JUNK_MEASURES
        measures.validate(full=True)
        assert measures["placeholder"].to_pylist() == [False, True, False, False, False]
        assert measures["boilerplate_share"].to_pylist() == [0, 0, 0, pytest.approx(17 / 22), 0]
        assert measures["email"].to_pylist() == [0, 0, 0, 1, 0]
        assert measures["mojibake_share"].to_pylist() == [0, 0, 0, 0, pytest.approx(0.4)]
    assert len(measure_junk(pa.array([], pa.string()))) == 0


def test_settings_name_the_files(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("bad\n")
    measures = measure_junk(pa.array(["bad, BAD badly"]), JunkSettings(word_lists=(str(words),)))
    assert measures["listed_words"].to_pylist() == [2]


def test_ten_megabytes_of_anything_are_measured():
    for text in (
        "Ã©" * 2_000_000,
        "all rights " * 800_000,
        "全部" * 1_500_000,
        "😀" * 2_000_000,
        "cookie " * 1_000_000,
    ):
        measures = measure_junk(pa.array([text])).to_pylist()[0]
        assert all(np.isfinite(value) for value in measures.values())
