"""The loop that converges what runs to what should run: it alone moves deployments and instances."""
