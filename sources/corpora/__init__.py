"""One module a corpus, each of the name users give: its SOURCE is found by that name (sources.catalogue)."""
