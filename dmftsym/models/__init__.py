"""The library of ready models: each file holds `build(**structure)`, written in the public language."""
