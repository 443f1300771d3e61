"""RemoteStore: documents in object storage, written by commits of whole runs and read by ranges."""
