"""Files and archives: paths, decompression, encodings, lines, and what is kept on disk for a while."""
