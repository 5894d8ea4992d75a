import re

import pytest

from sources.licences import licence_alternatives, licence_id


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("CC BY-SA 4.0", "cc-by-sa-4.0"),
        ("cc-by-sa-4.0", "cc-by-sa-4.0"),
        ("CC-BY-SA-4.0", "cc-by-sa-4.0"),
        ("cc_by_sa_4.0", "cc-by-sa-4.0"),
        ("CC BY SA 4", "cc-by-sa-4.0"),
        ("  CC  BY-SA\t4.0. ", "cc-by-sa-4.0"),
        ("(CC BY-SA 4.0)", "cc-by-sa-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International", "cc-by-sa-4.0"),
        ("Creative Commons Attribution-ShareAlike 4.0 International License", "cc-by-sa-4.0"),
        ("Attribution-NonCommercial-NoDerivatives 4.0 International", "cc-by-nc-nd-4.0"),
        ("Creative Commons Attribution Non-Commercial Share Alike 3.0 Unported", "cc-by-nc-sa-3.0"),
        ("https://creativecommons.org/licenses/by-sa/4.0/", "cc-by-sa-4.0"),
        ("http://www.creativecommons.org/licenses/by/3.0/us/legalcode", "cc-by-3.0-us"),
        ("//creativecommons.org/licenses/by-nc-nd/2.5/deed.de", "cc-by-nc-nd-2.5"),
        ("CC-BY-3.0-US", "cc-by-3.0-us"),
        ("https://creativecommons.org/publicdomain/zero/1.0/deed.ja", "cc0-1.0"),
        ("https://creativecommons.org/publicdomain/mark/1.0/", "pdm-1.0"),
        ("CC0", "cc0-1.0"),
        ("CC0-1.0", "cc0-1.0"),
        ("cc0 1.0 universal (CC0 1.0) Public Domain Dedication", "cc0-1.0"),
        ("CC BY", "cc-by"),
        ("CC-BY-NC", "cc-by-nc"),
        ("Apache License, Version 2.0", "apache-2.0"),
        ("Apache-2.0", "apache-2.0"),
        ("apache 2", "apache-2.0"),
        ("https://www.apache.org/licenses/LICENSE-2.0.txt", "apache-2.0"),
        ("The MIT License", "mit"),
        ("MIT", "mit"),
        ("https://opensource.org/licenses/MIT", "mit"),
        ("BSD 3-Clause License", "bsd-3-clause"),
        ("GPLv3", "gpl-3.0"),
        ("GPL-3.0-or-later", "gpl-3.0-or-later"),
        ("GNU General Public License v2.0", "gpl-2.0"),
        ("https://www.gnu.org/licenses/gpl-3.0.html", "gpl-3.0"),
        ("GFDL 1.3", "gfdl-1.3"),
        ("ODbL-1.0", "odbl-1.0"),
        ("https://opendatacommons.org/licenses/by/1-0/", "odc-by-1.0"),
        ("https://spdx.org/licenses/CC-BY-4.0.html", "cc-by-4.0"),
        ("Public Domain", "public-domain"),
        ("that of the files", "that of the files"),
        ("Lizenz für alle", "lizenz für alle"),
    ],
)
def test_a_licence_has_one_name_however_it_is_spelled(written: str, expected: str) -> None:
    assert licence_id(written) == expected


@pytest.mark.parametrize("written", [None, "", "  ", "unknown", "Other", "N/A", "none", "?", "Not specified."])
def test_words_that_name_no_licence_are_none(written: str | None) -> None:
    assert licence_id(written) is None
    assert licence_alternatives(written) == ()


def test_one_name_stays_itself() -> None:
    for name in (
        "cc-by-sa-4.0",
        "cc0-1.0",
        "apache-2.0",
        "mit",
        "bsd-3-clause",
        "gpl-3.0",
        "odc-by-1.0",
        "cc-by-3.0-us",
    ):
        assert licence_id(name) == name


@pytest.mark.parametrize(
    "other",
    [
        *("cc-by-nc-4.0", "CC BY-ND 4.0", "CC BY 4.0 and more terms", "not CC BY 4.0", "mitigated"),
        *("CC BY 4.0 NC", "CC-BY-4.0-ND", "CC BY 4.0 NonCommercial", "CC BY 4.0 (non-commercial use)"),
        *("CC0 for the metadata, texts all rights reserved", "cc0 or cc-by-nc", "cc-zero-nc"),
        "https://notcreativecommons.org/licenses/by/4.0/",
    ],
)
def test_a_stricter_licence_is_never_taken_for_a_freer_one(other: str) -> None:
    assert not re.fullmatch(r"cc-by-4\.0(-[a-z]{2})?|cc0-1\.0|mit", licence_id(other) or "")


@pytest.mark.parametrize("written", ["CC0 (public domain)", "CC Zero 1.0 Universal", "cc0 v1.0", "CC-0"])
def test_cc0_is_known_with_its_explanations(written: str) -> None:
    assert licence_id(written) == "cc0-1.0"


def test_an_expression_with_parentheses_inside_is_one_name() -> None:
    assert licence_alternatives("(MIT OR GPL-3.0)") == (frozenset({"mit"}), frozenset({"gpl-3.0"}))
    for written in ("(MIT OR GPL-3.0) AND CC-BY-NC-4.0", "CC-BY-NC-4.0 AND (MIT OR GPL-3.0)"):
        assert licence_alternatives(written) == (frozenset({written.lower()}),)


def test_expressions_are_taken_apart() -> None:
    assert licence_alternatives("CC-BY-SA-3.0 OR GFDL-1.3") == (frozenset({"cc-by-sa-3.0"}), frozenset({"gfdl-1.3"}))
    assert licence_alternatives("MIT AND CC-BY-4.0") == (frozenset({"mit", "cc-by-4.0"}),)
    assert licence_alternatives("CC BY-SA 4.0 and GFDL") == (frozenset({"cc by-sa 4.0 and gfdl"}),)
