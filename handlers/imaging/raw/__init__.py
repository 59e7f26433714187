"""Read the RAW files of cameras: what the sensor measured, with a preview that the camera made.

``kinds`` recognizes them by their content, ``previews`` finds the pictures inside, and ``reader``
shows the largest of them. Sources: DNG 1.7.1 (Adobe, 2023), TIFF/EP (ISO 12234-2), and the files
themselves where makers publish nothing.
"""
