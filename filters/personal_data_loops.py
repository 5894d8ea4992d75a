"""The loops that find personal data, compiled by numba; imported where needed (see filters.loops).

One pass over the bytes stops only at "@", "+", "(" and the beginnings of numbers; what is found there ends the search, so
nothing is counted twice. All that is looked for is written in ASCII: other bytes only end it.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from filters.loops import compiled

Bytes = NDArray[np.uint8]

# The places of filters.personal_data.KINDS.
NOTHING: Final = -1
EMAIL, IP_ADDRESS, PHONE, ID_NUMBER = range(4)

LONGEST_LOCAL: Final = 64  # characters before the @ (RFC 5321, section 4.5.3.1)
LONGEST_DOMAIN: Final = 255
LONGEST_NUMBER: Final = 48  # bytes of a number with what divides its groups
MOST_DIGITS: Final = 32
MOST_GROUPS: Final = 12

# What a byte can begin or be part of.
DIGIT: Final = 1
LETTER: Final = 2
STARTS: Final = 4  # "@", "+", "(" and digits
IN_LOCAL: Final = 8  # part of the name before an @ (RFC 5322's atoms without the rare ones, and the dot)
HEX: Final = 16


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for byte in range(128):
        character = chr(byte)
        table[byte] = (
            DIGIT * character.isdigit()
            | LETTER * character.isalpha()
            | STARTS * (character in "@+(" or character.isdigit())
            | IN_LOCAL * (character.isalnum() or character in "._%+-'&")
            | HEX * (character in "0123456789abcdefABCDEF")
        )
    return table


_CLASSES: Final = _classes()


def _country_codes() -> NDArray[np.bool_]:
    """Which first digits of an international number are a country calling code (ITU-T E.164): bool [1000]."""
    table = np.zeros(1000, np.bool_)
    table[[1, 7, 20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, *range(43, 50), *range(51, 59), *range(60, 67)]] = True
    table[[81, 82, 84, 86, *range(90, 96), 98]] = True
    for tens in (21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99):
        table[tens * 10 : tens * 10 + 10] = True
    return table


_COUNTRY_CODES: Final = _country_codes()


def _iban_lengths() -> NDArray[np.uint8]:
    """Length of an IBAN by its two letters (ISO 13616 registry, 2024): uint8 [676], 0 where there is none."""
    lengths = (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29"
        " ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28"
        " LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25"
        " QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30"
    )
    table = np.zeros(26 * 26, np.uint8)
    for entry in lengths.split():
        table[(ord(entry[0]) - 65) * 26 + ord(entry[1]) - 65] = int(entry[2:])
    return table


_IBAN_LENGTHS: Final = _iban_lengths()
# ISO 7064, MOD 11-2: weights of the 17 digits of a Chinese citizen's number (GB 11643), and the check character.
_CITIZEN_WEIGHTS: Final = np.array([7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2], np.int64)
_CITIZEN_CHECKS: Final = np.frombuffer(b"10X98765432", np.uint8)


@compiled
def count_finds(bounds: NDArray[Any], data: Bytes, counts: NDArray[np.int32]) -> None:
    """Fills counts (int32 [rows, kinds], zeroed)."""
    scratch = np.zeros((3, MOST_DIGITS), np.uint8)
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        first = at
        while True:
            kind, _, at = next_find(data, first, at, end, scratch)
            if kind == NOTHING:
                break
            counts[row, kind] += 1


@compiled
def list_finds(bounds: NDArray[Any], data: Bytes, finds: NDArray[np.int64]) -> None:
    """Fills finds (int64 [finds, 4]): row, kind, first byte, the byte after; in the order of the text."""
    scratch = np.zeros((3, MOST_DIGITS), np.uint8)
    found = 0
    for row in range(len(bounds) - 1):
        at, end = bounds[row], bounds[row + 1]
        first = at
        while True:
            kind, start, at = next_find(data, first, at, end, scratch)
            if kind == NOTHING:
                break
            finds[found, 0], finds[found, 1], finds[found, 2], finds[found, 3] = row, kind, start, at
            found += 1


@compiled
def next_find(data: Bytes, first: int, at: int, end: int, scratch: Bytes) -> tuple[int, int, int]:
    """The next find from byte `at` on, of a text that starts at `first`: kind, first byte, the byte after.

    `scratch` is room for a number: uint8 [3, MOST_DIGITS].
    """
    last = at  # what lies before is found already
    while at < end:
        if _CLASSES[data[at]] & STARTS == 0:
            at += 1
            continue
        if data[at] == 64:
            start, after = email_around(data, last, at, end)
            if after > 0:
                return EMAIL, start, after
            at += 1
            continue
        if at > first and _CLASSES[data[at - 1]] & (DIGIT | LETTER):
            start, after = iban_around(data, last, at, end)
            if after > 0:
                return ID_NUMBER, start, after
            at = skip_digits(data, at, end)
            continue
        if is_long_number(data, at, end):
            kind, after = number_at(data, first, at, end, scratch)
            if kind != NOTHING:
                return kind, at, after
        at = skip_digits(data, at, end)
    return NOTHING, end, end


@compiled
def is_long_number(data: Bytes, at: int, end: int) -> bool:
    """Whether there are eight digits with at most dividers between, or three points or two colons: most numbers are less."""
    digits = points = colons = 0
    limit = min(end, at + LONGEST_NUMBER)
    while at < limit:
        byte = data[at]
        if _CLASSES[byte] & HEX:
            digits += byte <= 57
            if byte > 57 and colons == 0 and digits == 0:
                return False
        elif byte == 46:
            points += 1
        elif byte == 58:
            colons += 1
        elif byte not in (32, 40, 41, 43, 45, 47):
            return False
        if digits >= 8 or points >= 3 or colons >= 2:
            return True
        at += 1
    return False


@compiled
def skip_digits(data: Bytes, at: int, end: int) -> int:
    """The byte after a run of digits, or after the one that is none."""
    if not _CLASSES[data[at]] & DIGIT:
        return at + 1
    while at < end and _CLASSES[data[at]] & DIGIT:
        at += 1
    return at


@compiled
def email_around(data: Bytes, first: int, at: int, end: int) -> tuple[int, int]:
    """First byte of the address whose @ is at `at` and the byte after it; the latter 0 where there is none."""
    start = at
    while start > first and at - start < LONGEST_LOCAL and _CLASSES[data[start - 1]] & IN_LOCAL:
        start -= 1
    while start < at and not _CLASSES[data[start]] & (DIGIT | LETTER):
        start += 1
    if start == at or data[at - 1] == 46:
        return at, 0
    label = after = at + 1  # the last label starts here
    labels = 0
    while after < end and after - at <= LONGEST_DOMAIN:
        kind = _CLASSES[data[after]] & (DIGIT | LETTER)
        if data[after] == 46:
            if after == label or data[after - 1] == 45:
                break
            if after + 1 >= end or not _CLASSES[data[after + 1]] & (DIGIT | LETTER):
                break  # the full stop of a sentence
            labels += 1
            label = after + 1
        elif not kind and data[after] != 45:
            break
        after += 1
    while after > label and data[after - 1] == 45:
        after -= 1
    top = after - label
    if labels == 0 or not 2 <= top <= 24 or reserved_name(data, at + 1, label, after):
        return at, 0
    for place in range(label, after):
        if not _CLASSES[data[place]] & LETTER and data[label] != 120:  # xn--... may hold more
            return at, 0
    return start, after


@compiled
def reserved_name(data: Bytes, start: int, label: int, end: int) -> bool:
    """Whether a domain is for examples (RFC 2606), or the last label is the suffix of an image: icon@2x.png."""
    if (
        spells(data, label, end, b"example")
        or spells(data, label, end, b"invalid")
        or spells(data, label, end, b"test")
    ):
        return True
    if spells(data, label, end, b"png") or spells(data, label, end, b"jpg") or spells(data, label, end, b"gif"):
        return True
    if spells(data, label, end, b"jpeg") or spells(data, label, end, b"svg") or spells(data, label, end, b"webp"):
        return True
    if label - start < 8 or not spells(data, label - 8, label - 1, b"example"):
        return False
    return label - start == 8 or data[label - 9] == 46


@compiled
def spells(data: Bytes, start: int, end: int, word: bytes) -> bool:
    """Whether the bytes are the word, in lower-case letters, whatever their case."""
    if end - start != len(word):
        return False
    for place in range(len(word)):  # noqa: SIM110 - numba
        if data[start + place] | 32 != word[place]:
            return False
    return True


@compiled
def iban_around(data: Bytes, first: int, at: int, end: int) -> tuple[int, int]:  # noqa: PLR0911 - a return for each form
    """First byte of the IBAN whose check digits start at `at` and the byte after it; the latter 0 where there is none."""
    start = at - 2
    if start < first or (start > first and _CLASSES[data[start - 1]] & (DIGIT | LETTER)):
        return at, 0
    if not (65 <= data[start] <= 90 and 65 <= data[start + 1] <= 90):
        return at, 0
    wanted = int(_IBAN_LENGTHS[(int(data[start]) - 65) * 26 + int(data[start + 1]) - 65])
    if wanted == 0:
        return at, 0
    # mod 97 of the rest, then of the first four characters (ISO 13616): letters count 10 to 35.
    remainder, read, after = 0, 4, at + 2
    if after > end or not _CLASSES[data[at + 1]] & DIGIT:
        return at, 0
    while read < wanted and after < end:
        byte = int(data[after])
        if byte == 32 and data[after - 1] != 32:
            after += 1
            continue
        if 48 <= byte <= 57:
            remainder = (remainder * 10 + byte - 48) % 97
        elif 65 <= byte <= 90:
            remainder = (remainder * 100 + byte - 55) % 97
        else:
            return at, 0
        read += 1
        after += 1
    if read < wanted or (after < end and _CLASSES[data[after]] & (DIGIT | LETTER)):
        return at, 0
    letters = (int(data[start]) - 55) * 100 + int(data[start + 1]) - 55
    check = (int(data[at]) - 48) * 10 + int(data[at + 1]) - 48
    remainder = (remainder * 10_000 + letters) % 97
    return (start, after) if (remainder * 100 + check) % 97 == 1 else (at, 0)


@compiled
def number_at(data: Bytes, first: int, at: int, end: int, scratch: Bytes) -> tuple[int, int]:  # noqa: PLR0911 - a return for each form
    """What number starts at a digit, plus or bracket that no digit or letter stands before, and the byte after it."""
    if at > first and data[at - 1] in (35, 36, 43, 44, 45, 46, 47, 92, 95):
        return NOTHING, at  # inside a longer number, a path or a version
    if 48 <= data[at] <= 57:
        after = ip_address_at(data, first, at, end)
        if after > 0:
            return IP_ADDRESS, after
        after = ip6_address_at(data, at, end)
        if after > 0:
            return IP_ADDRESS, after
        after = citizen_number_at(data, at, end)
        if after > 0:
            return ID_NUMBER, after
    digits, groups, dividers = scratch[0], scratch[1], scratch[2]  # a divider is before its group
    count, grouped, after = read_groups(data, at, end, digits, groups, dividers)
    if grouped == 0:
        return NOTHING, at
    if data[at] != 43 and data[at] != 40:
        if is_card(digits, count, groups, grouped, dividers):
            return ID_NUMBER, after
        if is_social_security_number(digits, groups, grouped, dividers):
            return ID_NUMBER, after
    if is_phone(data[at], digits, count, groups, grouped, dividers):
        return PHONE, after
    return NOTHING, at


@compiled
def read_groups(data: Bytes, at: int, end: int, digits: Bytes, groups: Bytes, dividers: Bytes) -> tuple[int, int, int]:
    """Reads groups of digits with one divider between two (space, - . / or brackets): digits, groups, the byte after.

    No groups where the number goes on in another way, or in more of them than a telephone number has.
    """
    limit = min(end, at + LONGEST_NUMBER)
    count = grouped = 0
    divider = 0
    place = at
    after = at
    if data[place] == 43:
        place += 1
    while place < limit:
        byte = int(data[place])
        if 48 <= byte <= 57:
            if grouped == 0 or divider:
                if grouped == MOST_GROUPS:
                    return 0, 0, at
                dividers[grouped] = divider
                groups[grouped] = 0
                grouped += 1
                divider = 0
            if count == MOST_DIGITS:
                return 0, 0, at
            digits[count] = byte - 48
            count += 1
            groups[grouped - 1] += 1
            place += 1
            after = place
        elif byte in (32, 45, 46, 47, 40, 41):
            # ") " and " (" and ")-" are one divider, told by the bracket
            if divider and not (byte in (40, 41) or divider in (40, 41)):
                break
            divider = byte if divider not in (40, 41) else divider
            place += 1
        else:
            break
    if after < end:
        byte = int(data[after])
        if _CLASSES[byte] & (DIGIT | LETTER) or byte in (95, 37) or (byte == 64):
            return 0, 0, at
        if byte in (44, 46, 45, 47, 58) and after + 1 < end and _CLASSES[data[after + 1]] & (DIGIT | LETTER):
            return 0, 0, at
    return count, grouped, after


@compiled
def is_card(digits: Bytes, count: int, groups: Bytes, grouped: int, dividers: Bytes) -> bool:  # noqa: PLR0911 - a return for each form
    """A payment card's number: known first digits (ISO/IEC 7812), grouped as printed or not at all, Luhn's check digit."""
    if not 13 <= count <= 19:
        return False
    two = int(digits[0]) * 10 + int(digits[1])
    four = two * 100 + int(digits[2]) * 10 + int(digits[3])
    visa = digits[0] == 4 and count in (13, 16, 19)
    mastercard = count == 16 and (51 <= two <= 55 or 2221 <= four <= 2720)
    express = count == 15 and two in (34, 37)
    diners = count == 14 and (two in (36, 38) or 3000 <= four <= 3059)
    others = count >= 16 and (four == 6011 or two in (35, 62, 65) or 6440 <= four <= 6499)
    if not (visa or mastercard or express or diners or others):
        return False
    if grouped > 1:
        if groups[0] != 4 or (dividers[1] != 32 and dividers[1] != 45):
            return False
        for group in range(1, grouped):
            if dividers[group] != dividers[1]:
                return False
            if count in (14, 15):
                if grouped != 3 or groups[1] != 6:
                    return False
            elif group < grouped - 1 and groups[group] != 4:
                return False
    total = 0
    for place in range(count):
        digit = int(digits[count - 1 - place])
        if place % 2 == 1:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


@compiled
def is_social_security_number(digits: Bytes, groups: Bytes, grouped: int, dividers: Bytes) -> bool:
    """ddd-dd-dddd as the United States give them out: no area 000, 666 or 9xx, no group 00, no serial 0000."""
    if grouped != 3 or groups[0] != 3 or groups[1] != 2 or groups[2] != 4:
        return False
    if dividers[1] != 45 or dividers[2] != 45:
        return False
    area = int(digits[0]) * 100 + int(digits[1]) * 10 + int(digits[2])
    serial = int(digits[5]) * 1000 + int(digits[6]) * 100 + int(digits[7]) * 10 + int(digits[8])
    return bool(0 < area < 900 and area != 666 and int(digits[3]) * 10 + int(digits[4]) > 0 and serial > 0)


@compiled
def is_phone(start: int, digits: Bytes, count: int, groups: Bytes, grouped: int, dividers: Bytes) -> bool:
    """A telephone number in one of the forms that dates, prices and ISBNs do not have (filters.personal_data names them)."""
    if start == 43:
        return bool(is_international(digits, 0, count))
    if start != 40 and digits[0] == 0 and digits[1] == 0:
        # 00 and a country's code of three digits at most; 0044992-01-0 is an article's number
        return bool(grouped > 1 and groups[0] <= 5 and is_international(digits, 2, count))
    if is_north_american(start, digits, count, groups, grouped, dividers):
        return True
    if count == 11 and digits[0] == 1 and digits[1] >= 3 and start != 40:  # a Chinese mobile number
        if grouped == 1:
            return True
        return bool(
            grouped == 3
            and groups[0] == 3
            and groups[1] == 4
            and dividers[1] == dividers[2]
            and dividers[1] in (32, 45)
        )
    return bool(is_national(start, digits, count, groups, grouped, dividers))


@compiled
def is_international(digits: Bytes, at: int, count: int) -> bool:
    """A country's calling code and 8 to 15 digits in all (E.164); not a round amount such as +1 000 000 000."""
    if not 8 <= count - at <= 15 or digits[at] == 0:
        return False
    three = int(digits[at]) * 100 + int(digits[at + 1]) * 10 + int(digits[at + 2])
    if not (_COUNTRY_CODES[three // 100] or _COUNTRY_CODES[three // 10] or _COUNTRY_CODES[three]):
        return False
    zeros = 0
    for place in range(count - 6, count):
        zeros += digits[place] == 0
    return zeros < 6


@compiled
def is_north_american(start: int, digits: Bytes, count: int, groups: Bytes, grouped: int, dividers: Bytes) -> bool:
    """(ddd) ddd-dddd, ddd-ddd-dddd, ddd.ddd.dddd, with or without 1- before; area and exchange start with 2 to 9."""
    ahead = 1 if count == 11 and digits[0] == 1 and groups[0] == 1 else 0
    if count != 10 + ahead or grouped != 3 + ahead:
        return False
    if groups[ahead] != 3 or groups[ahead + 1] != 3 or digits[ahead] < 2 or digits[ahead + 3] < 2:
        return False
    last = dividers[ahead + 2]
    if last not in (45, 46):
        return bool(start == 40 and last == 32)
    return bool(dividers[ahead + 1] == last or dividers[ahead + 1] == 41)


@compiled
def is_national(start: int, digits: Bytes, count: int, groups: Bytes, grouped: int, dividers: Bytes) -> bool:
    """0 and an area code of a national number: 9 to 11 digits in two to five groups of two and more, divided alike."""
    if digits[0] != 0 or digits[1] == 0 or not 9 <= count <= 11 or not 2 <= grouped <= 5:
        return False
    for group in range(grouped):
        if groups[group] < 2:
            return False
    divider = dividers[grouped - 1]
    for group in range(2, grouped):
        if dividers[group] != divider or divider in (47, 40, 41):
            return False
    first = dividers[1]
    if first in (47, 41):
        return True
    if start == 40 or first == 40:
        return False
    # 01.02.2003 14 and 01-02-2003 are dates: of groups of two and four more is asked
    return first == divider and (groups[0] > 2 or grouped == 5 or groups[1] >= 4)


@compiled
def citizen_number_at(data: Bytes, at: int, end: int) -> int:
    """The byte after a Chinese citizen's number of 18 characters (GB 11643), 0 where there is none."""
    after = at + 18
    if after > end or (after < end and _CLASSES[data[after]] & (DIGIT | LETTER)):
        return 0
    total = 0
    for place in range(17):
        if not _CLASSES[data[at + place]] & DIGIT:
            return 0
        total += (int(data[at + place]) - 48) * _CITIZEN_WEIGHTS[place]
    year = two_digits(data, at + 6) * 100 + two_digits(data, at + 8)
    month, day = two_digits(data, at + 10), two_digits(data, at + 12)
    if not (1850 <= year < 2100 and 1 <= month <= 12 and 1 <= day <= 31):
        return 0
    last = data[at + 17] & 0xDF if data[at + 17] > 57 else data[at + 17]
    return after if last == _CITIZEN_CHECKS[total % 11] else 0


@compiled
def two_digits(data: Bytes, at: int) -> int:
    """The number that two digits write."""
    return (int(data[at]) - 48) * 10 + int(data[at + 1]) - 48


@compiled
def ip_address_at(data: Bytes, first: int, at: int, end: int) -> int:  # noqa: PLR0911 - a return for each form
    """The byte after a public IPv4 address, 0 where there is none.

    A number with four parts all below 64 is taken for a version or a section, as is one after the word "version".
    """
    parts = np.zeros(4, np.int64)
    place = at
    for part in range(4):
        start = place
        while place < end and place - start < 4 and _CLASSES[data[place]] & DIGIT:
            parts[part] = parts[part] * 10 + int(data[place]) - 48
            place += 1
        size = place - start
        if size == 0 or size > 3 or parts[part] > 255 or (size > 1 and data[start] == 48):
            return 0
        if part < 3:
            if place >= end or data[place] != 46:
                return 0
            place += 1
    if place < end:
        byte = int(data[place])
        if _CLASSES[byte] & (DIGIT | LETTER) or byte in (45, 95, 126):
            return 0
        if byte in (46, 43) and place + 1 < end and _CLASSES[data[place + 1]] & (DIGIT | LETTER):
            return 0
        if byte == 47 and place + 1 < end and _CLASSES[data[place + 1]] & DIGIT:  # a network: 85.214.0.0/16
            return 0
    if max(max(parts[0], parts[1]), max(parts[2], parts[3])) < 64 or after_version(data, first, at):  # noqa: PLW3301
        return 0
    return place if is_public(parts) else 0


@compiled
def after_version(data: Bytes, first: int, at: int) -> bool:
    """Whether the word before is "version" or "release"."""
    place = at
    while place > first and data[place - 1] == 32:
        place -= 1
    if place - first < 7:
        return False
    return bool(spells(data, place - 7, place, b"version") or spells(data, place - 7, place, b"release"))


@compiled
def is_public(parts: NDArray[np.int64]) -> bool:
    """Whether an IPv4 address is a host's own: none of IANA's special-purpose blocks, no multicast, no netmask."""
    first, second, third = parts[0], parts[1], parts[2]
    if first in (0, 10, 127) or first >= 224:
        return False
    private = (first == 172 and 16 <= second <= 31) or (first == 192 and second == 168)
    shared = (first == 100 and 64 <= second <= 127) or (first == 169 and second == 254)
    examples = (
        (first == 192 and second == 0 and third in (0, 2))
        or (first == 198 and second == 51 and third == 100)
        or (first == 203 and second == 0 and third == 113)
        or (first == 198 and second in (18, 19))
    )
    return bool(not (private or shared or examples))


@compiled
def ip6_address_at(data: Bytes, at: int, end: int) -> int:
    """The byte after a global IPv6 address (2000::/3 without 2001:db8::/32), 0 where there is none."""
    if at + 5 > end or data[at + 4] != 58 or data[at] < 50 or data[at] > 51:
        return 0
    place = at
    groups = size = value = first = second = 0
    gap = False
    while place < end:
        byte = int(data[place])
        if _CLASSES[byte] & HEX:
            size += 1
            value = value * 16 + (byte - 48 if byte <= 57 else (byte | 32) - 87)
            if size > 4:
                return 0
            place += 1
            continue
        if byte != 58 or groups == 8:
            break
        if size > 0:
            groups += 1
            first = value if groups == 1 else first
            second = value if groups == 2 else second
        elif gap or data[place - 1] != 58:
            return 0
        else:
            gap = True
        size = value = 0
        place += 1
    if size > 0:
        groups += 1
        second = value if groups == 2 else second
    elif place > at and data[place - 1] == 58 and not (gap and data[place - 2] == 58):
        return 0
    if place < end and _CLASSES[data[place]] & LETTER:
        return 0
    whole = groups == 8 and not gap
    short = gap and 3 <= groups < 8
    return 0 if not (whole or short) or (first == 0x2001 and second == 0xDB8) else place
