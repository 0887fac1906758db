"""Flags: what makes a robust accuracy look better than it is, found in the code, in the model, in the attack."""
