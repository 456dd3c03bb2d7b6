"""Agents with a plastic recurrent core."""
