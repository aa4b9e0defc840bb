"""data.series"""
