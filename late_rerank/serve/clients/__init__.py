"""Languages of clients: a body -> Questions, their Rankings -> the answer that the client reads, an error -> its words."""
