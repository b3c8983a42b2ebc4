"""The vocabulary everybody shares: keys, ids, errors, references, units, limits, credentials."""
