"""Environments: mazes in which each lifetime must be learned anew, and wrappers for other tasks."""
