"""Mazes with a hidden goal, to be found anew in every lifetime."""
