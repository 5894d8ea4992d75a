"""Looking after a run folder: `pairmill verify` reads all of it, `pairmill clean` removes what nothing needs."""
