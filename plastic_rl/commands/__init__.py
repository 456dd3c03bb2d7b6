"""What each command does, given its settings."""
