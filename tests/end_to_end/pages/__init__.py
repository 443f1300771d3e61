"""Pages in a real browser. A package, so that its browser and its server end with the last of its tests."""
