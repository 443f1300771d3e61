"""Pages as images -> token vectors, one for each patch of a page. `encoder` loads torch when it is used."""
