"""Query encoders: small students that encode queries in the place of the model that taught them. No torch here."""
