"""The worker: claims tasks, runs stages, records results; and the dispatcher."""
