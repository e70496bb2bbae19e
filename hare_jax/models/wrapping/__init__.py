"""Other people's models as classifiers of encoded rows: `wrap`, and one file for each kind of model."""
