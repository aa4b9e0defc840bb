"""Tables that people have: CSV, TSV and Parquet files."""
