"""Write the files of formulas that are out of date: ``python -m tools.formulas``."""

from . import FILES

for file in FILES:
    print(f"{file.path.name} is {'rewritten' if file.write() else 'up to date'}")
