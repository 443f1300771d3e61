"""The same for a document that is a picture: which of its parts match, and what is written near them."""
