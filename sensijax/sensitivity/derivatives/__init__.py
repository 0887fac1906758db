"""Derivatives with respect to the input: Jacobians, spectra, curvature, local bounds, maps, gains of components."""
