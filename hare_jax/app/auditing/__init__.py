"""An audit of a method by group, from a DataFrame to a table, a CSV file and a plot."""
