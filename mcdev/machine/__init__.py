"""This machine and this process: backend, threads, kept programs, versions, and who computed what."""
