"""Cue tasks: which of the cues that are shown pays, or which action each of them asks for, is new in every lifetime."""
