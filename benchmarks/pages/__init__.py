"""What is written: figures from rows, tables, plots and pages."""
