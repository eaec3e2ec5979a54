"""Models as texts that are kept and passed on: TOML for ourselves, SBML and Antimony for other programs."""
