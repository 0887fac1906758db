"""Detectors of distribution shift whose error rates are what they say."""
