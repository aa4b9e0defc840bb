"""data.cells"""
