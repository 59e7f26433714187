"""Find the colour space of a file, and convert its pixels to sRGB.

``conversion`` applies an ICC profile or a ``coding``: primaries and a transfer function, which
``png_marks`` and ``heif_marks`` find, and from which ``icc_profile`` makes a profile with
``matrices``. ``tone`` brings HDR to SDR. ``gain_map`` recognizes maps for HDR displays.
"""
