"""Read TIFF: every layout comes out right, or is refused by its name.

Sections are those of TIFF 6.0 (1992). ``directory`` parses the file's directories, ``layout`` says
what kind of pixels it holds, ``samples`` decodes them with libtiff through Pillow's decoder, and
``reader`` makes a picture of them.
"""
