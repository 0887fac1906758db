"""Sensitivity: exact derivatives, thresholds, response surfaces, and global sensitivity analysis."""
