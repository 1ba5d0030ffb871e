"""What a process measures, and the page on which it can be read."""
