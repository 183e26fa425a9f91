"""Mathematics only, no grid: effective process, saddle point, causality, LaTeX."""
