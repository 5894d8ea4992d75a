"""The rules on languages: claims of the corpus against what was measured, and the two sides against each other."""

from collections.abc import Callable

import numpy as np

from filters.facts import Facts, Mask, Side, group_number
from filters.language import language_group
from sources.languages import UNKNOWN, language_code

Judge = Callable[[Facts, str], Mask]  # of the facts and the name of the setting that holds the threshold


def wrong_language(side: Side) -> Judge:
    """A side is surely in another language than its corpus says."""

    def fails(facts: Facts, setting: str) -> Mask:
        claimed = facts.claimed[side]
        wrong: Mask = (claimed != facts.measured[side]) & (claimed != group_number(UNKNOWN))
        return wrong & _sure(facts, side, setting)

    return fails


def disagree(facts: Facts, setting: str) -> Mask:
    """Both sides are surely in different languages, in a pair that should be in one."""
    return facts.one_language & _both_sure(facts, setting) & ~_same_language(facts)


def agree(facts: Facts, setting: str) -> Mask:
    """Both sides are surely in one language, in a pair that should be of two."""
    # A corpus may well pair Croatian with Serbian: what one group holds, agreement cannot tell apart.
    query, positive = facts.claimed["query"], facts.claimed["positive"]
    claimed_alike: Mask = (query == positive) & (query != group_number(UNKNOWN))
    return ~facts.one_language & _both_sure(facts, setting) & _same_language(facts) & ~claimed_alike


def not_wanted(facts: Facts, setting: str) -> Mask:
    """A side is, by claim or else by measure, in a language that was not asked for; what is unknown may stay."""
    wanted = {language_group(language_code(code)) for code in getattr(facts.settings, setting)}
    numbers = [group_number(group) for group in sorted(wanted | {UNKNOWN})]
    unwanted = np.zeros(len(facts.kinds), np.bool_)
    for side in ("query", "positive"):
        claimed = facts.claimed[side]
        language = np.where(claimed == group_number(UNKNOWN), facts.measured[side], claimed)
        unwanted |= ~np.isin(language, [*numbers, -1])
    return unwanted


def unsure(facts: Facts, setting: str) -> Mask:
    """Neither side is clearly in any language; a side that was not judged does not count."""
    probability = {side: facts[f"{side}_language_probability"] for side in ("query", "positive")}
    clear = (probability["query"] >= facts.limit(setting, "query")) | (
        probability["positive"] >= facts.limit(setting, "positive")
    )
    judged = ~(np.isnan(probability["query"]) & np.isnan(probability["positive"]))
    result: Mask = judged & ~clear
    return result


def _sure(facts: Facts, side: Side, setting: str) -> Mask:
    # Not judged: NaN, not sure.
    sure: Mask = facts[f"{side}_language_probability"] >= facts.limit(setting, side)
    return sure


def _both_sure(facts: Facts, setting: str) -> Mask:
    return _sure(facts, "query", setting) & _sure(facts, "positive", setting)


def _same_language(facts: Facts) -> Mask:
    same: Mask = facts.measured["query"] == facts.measured["positive"]
    return same
