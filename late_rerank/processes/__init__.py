"""What a process owns: threads and locks that survive a fork, and an end that no native call outlives."""
