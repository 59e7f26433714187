"""Pure image code: bytes in, pictures and facts out. It opens no file; settings are arguments.

``picture.load`` is the pipeline: check the format and its ``complexity``, estimate the ``cost``,
gather ``metadata``, decode (``heic``, ``frames``), find ``damage`` (``jpeg``), reduce, convert to
sRGB (``colour``), turn upright. ``webp`` encodes renditions.
"""
