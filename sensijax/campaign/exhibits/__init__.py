"""Exhibits: what a report shows beside the responses, made once at the end of a run and kept by address."""
