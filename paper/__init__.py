"""The paper: its sources, and what writes its figures, tables, theorems and numbers."""
