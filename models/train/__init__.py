"""The scripts that trained the checked-in models: `python -m models.train --data FOLDER`.

Offline only; nothing here is imported by the package. Needs the `train` extra.
"""
