"""Load and cache generated code, label and store results; no SymPy here."""
