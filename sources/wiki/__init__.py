"""Wikitext and the dumps of Wikipedia."""
