"""The severity of a perturbation: derivatives, critical severities, thresholds, regions, interactions."""
