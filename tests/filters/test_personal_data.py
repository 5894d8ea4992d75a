"""Personal data by its form: what is found, what only looks like it, and what masking leaves."""

import random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from filters.personal_data import (
    KINDS,
    PERSONAL_DATA_MEASURES,
    PersonalDataSettings,
    count_personal_data,
    mask_personal_data,
)

FOUND = {
    "email": [
        "john.doe+x@gmail.com",
        "O'Neil@mail.server.co.uk",
        "a_b-c%d@x-y.de",
        "info@xn--bcher-kva.xn--p1ai",
    ],
    "ip_address": ["85.214.3.7", "203.0.114.9", "2001:4860:4860::8888", "2a00:1450:4001:81b:0:0:0:200e"],
    "phone": [
        "+49 30 1234567",
        "+1 (212) 555-0123",
        "+8613812345678",
        "+33 1 23 45 67 89",
        "0049 30 123456",
        "(212) 555-0123",
        "212-555-0123",
        "212.555.0123",
        "1-800-555-0199",
        "13812345678",
        "138-1234-5678",
        "030/1234567",
        "(030) 1234567",
        "01 23 45 67 89",
        "020 7946 0958",
        "03-1234-5678",
        "090-1234-5678",
        "010-62345678",
    ],
    "id_number": [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "5500005555555559",
        "378282246310005",
        "3782 822463 10005",
        "219-09-9999",
        "11010519491231002X",
        "GB82 WEST 1234 5698 7654 32",
        "DE89370400440532013000",
    ],
}
AROUND = ("{}", "call {}.", "x ({}), y", "电话{}。", "tel: {}; fax", "«{}»", "{}\n")


def counted(*texts):
    measures = count_personal_data(pa.array(texts, pa.string()))
    assert measures.schema == PERSONAL_DATA_MEASURES
    return measures.to_pylist()


@pytest.mark.parametrize(("kind", "find"), [(kind, find) for kind, finds in FOUND.items() for find in finds])
def test_one_find_of_its_kind_is_counted_wherever_it_stands(kind, find):
    for around in AROUND:
        text = around.format(find)
        assert counted(text) == [{name: int(name == kind) for name in KINDS}], text


@pytest.mark.parametrize(
    "text",
    [
        # addresses that are nobody's
        "user@localhost", "a@example.org", "a@mail.example.com", "a@b.test", "icon@2x.png", "@user", "a@", "a@.de", "@", "a@b",
        "10.0.0.1", "192.168.100.1", "172.16.254.1", "127.0.0.1", "255.255.255.0", "192.0.2.100", "100.64.0.1", "fe80::1",
        "2001:db8::1", "85.214.0.0/16", "::1", "224.0.0.251",
        # versions, sections, dates, times
        "1.2.3.4", "version 1.2.3.104", "5.4.110.2-1", "5.4.110.2.1", "v5.4.110.2", "256.100.100.100", "85.214.03.7",
        "1990-1995", "2003-04-05 12:30", "01.02.2003 14:30", "01-02-2003", "05-06-07", "12:30:45", "20:15:30:45", "2015::x",
        # ISBN, ISSN, DOI, amounts, mathematics
        "154/1571/1581", "0044992-01-0", "978-3-16-148410-0", "0-306-40615-2", "ISSN 0028-0836", "10.1000/182", "10,000,000", "1 000 000", "+1 000 000 000",
        "3.14159265358979", "1234567890", "x+12345678901", "C++11", "0.9.8-123", "1999-2000-2001", "123-456-789",
        "555-0123", "0800", "€ 1.234.567,89", "99.99.99.99.99", "2^1381234567", "0,13812345678", "+5", "+12345",
        # wrong check digits, numbers that cannot be, hashes
        "4111 1111 1111 1112", "4111 11111 111 1111", "000-12-3456", "900-12-3456", "666-12-3456", "123-00-3456",
        "123-45-0000", "110105194912310021", "110105194913310027", "DE89370400440532013001", "ZZ89370400440532013000",
        "GB82 WEST 1234 5698 7654", "4111111111111111abc", "f4111111111111111", "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
        "",
    ],
)  # fmt: skip
def test_what_only_looks_like_it_is_left_alone(text):
    assert counted(text) == [dict.fromkeys(KINDS, 0)]


def luhn(digits):
    doubled = [digit * (1 + place % 2) for place, digit in enumerate(map(int, reversed(digits)))]
    return sum(digit - 9 * (digit > 9) for digit in doubled) % 10 == 0


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**15 - 1))
def test_of_sixteen_digits_those_with_luhns_check_digit_are_cards(number):
    digits = f"4{number:015d}"
    assert counted(digits)[0]["id_number"] == luhn(digits)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**18 - 1))
def test_an_iban_has_remainder_one(number):
    account = f"{number:018d}"
    check = 98 - int(f"{account}131400") % 97  # D is 13, E is 14
    assert counted(f"DE{check:02d}{account}")[0]["id_number"] == 1
    assert counted(f"DE{check % 97 + 1:02d}{account}")[0]["id_number"] == (check % 97 + 1 == check)


def test_every_last_character_of_a_citizens_number_but_one_is_wrong():
    finds = [counted(f"11010519491231002{last}")[0]["id_number"] for last in "0123456789X"]
    assert finds == [0] * 10 + [1]


def test_several_finds_are_all_counted():
    text = "Write to a@b.de or c@d.fr, call +49 30 1234567 or 212-555-0123, from 85.214.3.7: 219-09-9999."
    assert counted(text) == [{"email": 2, "ip_address": 1, "phone": 2, "id_number": 1}]


def test_rows_are_counted_alone_and_nulls_hold_nothing():
    texts = pa.array(["a@b.de", None, "", "x", "12", "c@d.fr e@f.it"])
    for given_texts in (texts, pa.concat_arrays([pa.array(["x@y.de"]), texts]).slice(1), texts.cast(pa.large_string())):
        assert count_personal_data(given_texts)["email"].to_pylist() == [1, 0, 0, 0, 0, 2]
    # what one row ends with does not go on in the next
    assert counted("+49 30 12", "34567")[0]["phone"] == 0
    assert counted("a@b", ".de")[0]["email"] == 0


# Masking


def test_masked_texts_hold_a_sign_for_each_find_and_all_else_as_it_was():
    texts = pa.array(
        ["Mail a@b.de, 电话13812345678。", None, "nothing", "GB82 WEST 1234 5698 7654 32 from 85.214.3.7!"]
    )
    assert mask_personal_data(texts).to_pylist() == [
        "Mail <EMAIL>, 电话<PHONE>。",
        None,
        "nothing",
        "<ID_NUMBER> from <IP_ADDRESS>!",
    ]


def test_only_the_kinds_asked_for_are_masked_and_signs_can_be_chosen():
    texts = pa.array(["a@b.de 212-555-0123"])
    assert mask_personal_data(texts, ["email"]).to_pylist() == ["<EMAIL> 212-555-0123"]
    assert mask_personal_data(texts, ["phone"], {"phone": "☎"}).to_pylist() == ["a@b.de ☎"]
    assert mask_personal_data(texts, ["ip_address"]) is texts
    assert mask_personal_data(texts, []) is texts


def test_texts_without_finds_are_given_back_as_they_are():
    texts = pa.array(["nothing", None])
    assert mask_personal_data(texts) is texts


def test_the_type_of_the_array_stays_and_slices_are_read_rightly():
    texts = pa.array(["0", "a@b.de", "é c@d.fr"], pa.large_string()).slice(1)
    masked = mask_personal_data(texts)
    assert masked.type == pa.large_string()
    assert masked.to_pylist() == ["<EMAIL>", "é <EMAIL>"]


PIECES = st.sampled_from(
    [*(find for finds in FOUND.values() for find in finds), "é", "中国", "word", "😀", "12", "(", "."]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(PIECES, max_size=6), st.sampled_from(["", " ", ", ", "\n"]))
def test_a_masked_text_holds_no_more_finds_than_signs(pieces, between):
    text = between.join(pieces)
    (row,) = counted(text)
    (masked,) = mask_personal_data(pa.array([text])).to_pylist()
    signs = {"email": "<EMAIL>", "ip_address": "<IP_ADDRESS>", "phone": "<PHONE>", "id_number": "<ID_NUMBER>"}
    assert {kind: masked.count(sign) for kind, sign in signs.items()} == row


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("019+-.@( )/:aFDEX é中"), max_size=60))
def test_any_characters_are_counted_and_masked(text):
    assert all(0 <= value <= len(text) for value in counted(text)[0].values())
    assert mask_personal_data(pa.array([text])).to_pylist()[0].isprintable() == text.isprintable()


def test_long_texts_of_triggers_take_no_more_than_their_time():
    chance = random.Random(0)
    for text in (
        "@" * 10**6,
        "a@" * 10**6,
        "+" * 10**6,
        "1 " * 10**6,
        "1" * 10**6,
        "a." * 10**6 + "@b.de",
        "(" * 10**6,
    ):
        counted(text)
    digits = "".join(chance.choices("0123456789 -./", k=10**6))
    assert len(mask_personal_data(pa.array([digits]))) == 1


def test_settings_keep_unless_told_otherwise():
    assert PersonalDataSettings().action == "keep"
    assert tuple(PersonalDataSettings().kinds) == KINDS
    with pytest.raises(ValueError, match="action"):
        PersonalDataSettings(action="erase")
