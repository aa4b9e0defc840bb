"""Prepare ECGs once for training: read them, align them and write them as a store."""
