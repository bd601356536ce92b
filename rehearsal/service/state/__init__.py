"""What the stand-in remembers: the store and the jobs in it. It knows nothing of HTTP."""
