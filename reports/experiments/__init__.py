"""Papers reproduced: what was published, beside what the models give."""
