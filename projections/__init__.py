"""The read models that queries and rooms use, and the projector that folds the log into them."""
