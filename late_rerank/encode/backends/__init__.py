"""What runs a transformer: torch, or an inference engine that is several times faster on a processor."""
