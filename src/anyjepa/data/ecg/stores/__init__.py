"""Stores: prepared ECGs on disk, larger than memory."""
