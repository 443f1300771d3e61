"""A process's own threads and locks: they survive a fork, and no native call outlives the process's end."""
