"""The pipeline's stages: one file a stage, pure image code, and the worker that runs them."""
