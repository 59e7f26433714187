"""Running Photolog: settings, wiring, processes, the command line, measurements."""
