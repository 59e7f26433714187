"""Types that several settings share; a description and the default follow at each setting."""

from typing import Annotated

from msgspec import Meta

Natural = Annotated[int, Meta(ge=0)]
Count = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0, le=86_400)]
Positive = Annotated[float, Meta(gt=0)]
Percent = Annotated[float, Meta(gt=0, le=100)]
FORMATS = r"^((JPEG|PNG|WebP|GIF|TIFF|AVIF|HEIC|HEIF|JXL|RAW)( (?=.)|$))*$"
"""A pattern: names of formats, separated by spaces."""

HttpUrl = Annotated[str, Meta(pattern="^(http|https)://")]
