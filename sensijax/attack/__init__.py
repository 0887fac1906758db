"""Adversaries: perturbations that look at the model, and what is wrong with a number that looks too good."""
