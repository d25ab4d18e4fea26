"""Device functions that select the largest numbers of a row, the lowest index first of equals."""
