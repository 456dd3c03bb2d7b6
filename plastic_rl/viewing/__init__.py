"""An agent and its network at work, as pictures for a window or an animation."""
