"""The command line, result tables, figures and pages."""
