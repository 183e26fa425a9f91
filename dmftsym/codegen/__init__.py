"""Source code: printers for formulas, templates for structure."""
