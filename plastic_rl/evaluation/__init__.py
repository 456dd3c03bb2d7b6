"""Testing trained agents and networks on fresh lifetimes."""
