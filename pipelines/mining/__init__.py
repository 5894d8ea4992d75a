"""Hard negatives for plain files: what `pairmill mine` runs."""
