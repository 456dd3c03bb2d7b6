"""The fused engine: one pass over the trace per step, forward and backward, on all cores of the CPU."""
