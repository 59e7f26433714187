"""Load everything that decoding loads lazily, before the sandbox closes: later, no file opens.

Modules, text codecs, colour profiles and threading libraries are loaded on first use. So each
format is decoded once, complete and truncated, and each stage runs once.
"""

import codecs
import contextlib
import io
import threading
import time
import traceback
import tracemalloc
import warnings

from PIL import AvifImagePlugin, Image, ImageCms

from domain.photo.results import ORIGINAL
from handlers.decoder import seccomp
from handlers.imaging import heic, jxl
from handlers.imaging.picture import load
from handlers.registry import STAGES
from handlers.stage import StageContext, StageFailure

_CODECS = ("ascii", "latin-1", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32")
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF")
_HEIC = b"\0\0\0\x18ftypheic\0\0\0\0heicmif1"
_EDGE = 16

THREADS_END_S = 5.0


def prepare_decoders() -> None:
    """Set the decoders' process-wide options."""
    # There is already one decoder process per core.
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1
    heic.confine()


def warm_up() -> None:
    """Use everything that decoding may use; afterwards this process has one thread."""
    for name in _CODECS:
        codecs.lookup(name)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()  # pyright: ignore
    for format_ in _FORMATS:
        _use(_sample(format_))
        _use(_sample(format_, icc_profile=profile))
    _use(_HEIC)
    if jxl.pillow_jxl is not None:
        _use(_sample("JXL"))
    _fail()
    time.tzset()
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    _wait_for_threads()


def _sample(format_: str, **options: bytes) -> bytes:
    exif = Image.Exif()
    exif[0x010E] = "x"
    buffer = io.BytesIO()
    Image.linear_gradient("L").resize((_EDGE, _EDGE)).convert("RGB").save(  # pyright: ignore
        buffer, format_, exif=exif.tobytes(), **options
    )
    return buffer.getvalue()


def _use(data: bytes) -> None:
    for part in (data, data[: len(data) * 3 // 4]):
        with contextlib.suppress(StageFailure):
            picture = load(part, StageContext())
            for stage in STAGES.values():
                if part is data or stage.needs == ORIGINAL:
                    stage.run(picture, StageContext())


def _fail() -> None:
    """Format a warning and a traceback, which also load modules on first use."""
    tracemalloc.is_tracing()
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn("as a library may", stacklevel=1)
    try:
        int("as a stage may")
    except ValueError as error:
        traceback.format_exception(error)


def _wait_for_threads() -> None:
    """Wait until no thread is left but this one: a joined thread may linger in the kernel."""
    deadline = time.monotonic() + THREADS_END_S
    with contextlib.suppress(OSError):  # not Linux
        while seccomp.threads() > 1 and time.monotonic() < deadline:
            time.sleep(0.001)
