"""Pure image code: bytes in, pictures and facts out. It opens no file; settings are arguments.

``picture.load`` is the pipeline: check the format and its ``complexity``, decode (``decoding``),
reduce, convert to sRGB (``colours``), turn upright. ``decoding`` makes an ``attempt`` with the
format's reader: ``reader`` for most, which estimates the ``cost``, counts ``frames`` and finds
``damage`` (``jpeg``). ``metadata`` reads what the file tells besides its pixels. ``webp`` encodes
renditions.
"""
