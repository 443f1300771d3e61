"""A model and texts like queries -> a small query encoder, whose token vectors are near the model's own."""
