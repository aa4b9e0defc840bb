"""ECGs: readers by format, published sets, tasks, preprocessing, and data sets in memory or on disk."""
