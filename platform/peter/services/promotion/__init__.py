"""Who is champion: a patch beside its baselines and its twin, the gate, a move by hand."""
