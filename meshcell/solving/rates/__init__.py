"""All reactions of a place at once: their formulas joined to one program, run block by block over its nodes."""
