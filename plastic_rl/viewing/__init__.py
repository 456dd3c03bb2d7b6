"""An agent and its network at work, in a window or an animation."""
