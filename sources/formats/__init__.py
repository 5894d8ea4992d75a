"""Formats: JSON, tables, Parquet, text, XML, WARC, rows of the hub; each as records, rows or columns."""
