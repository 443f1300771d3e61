"""What users give -> checked values, or an error that says what was given, what was expected, and what to do."""
