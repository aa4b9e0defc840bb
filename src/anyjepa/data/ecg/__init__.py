"""data/ecg"""
