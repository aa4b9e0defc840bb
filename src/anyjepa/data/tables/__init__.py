"""Read tables: CSV, TSV and Parquet files."""
