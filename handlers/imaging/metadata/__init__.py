"""The facts that a file tells besides its pixels. Pure: bytes in, values out; nothing here raises.

``embedded`` gathers the metadata of a file: ``containers`` and ``isobmff`` find the blocks;
``tiff_directory``, ``exif``, ``maker_notes``, ``iptc`` and ``icc`` read them; ``motion`` finds the
video of a motion photo. ``xmp`` reads a packet, and ``xmp_tags`` completes EXIF by it. ``dates``
(with ``moments`` and ``filenames``), ``exposure``, ``lens``, ``gps`` and ``descriptions`` make
facts of them. ``ops/guides/metadata.md`` says in which order sources count.
"""
