"""The stress rooms against their peers: one module for each claim, and `measure` for all of them."""
