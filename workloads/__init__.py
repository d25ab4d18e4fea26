"""Models, tasks and the trace: what runs, and what is handed on."""
