"""Mazes with a hidden goal, which an agent must find anew in every lifetime."""
