"""Training into a run folder: exactly repeatable, safe to stop at any moment."""
