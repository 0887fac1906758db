"""Global sensitivity: spaces of uncertain inputs, points that fill them, and indices of what drives the outputs."""
