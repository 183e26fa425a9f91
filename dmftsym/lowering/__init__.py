"""Time grid, liveness, causal schedule and the typed intermediate representation."""
