"""Metadata: what the file tells of the photo, in units that need no EXIF table to understand.

``ops/guides/metadata.md`` lists the sources of each fact, their order and the reasons. Missing or
invalid values are None.
"""

import msgspec

from domain.photo.results import Camera, MetadataResult
from handlers.imaging.metadata import (
    dates,
    descriptions,
    exposure,
    gps,
    lens,
    values,
    xmp,
    xmp_tags,
)
from handlers.imaging.metadata.exif import Tag, Tags
from handlers.imaging.picture import Picture
from handlers.stage import Output, StageContext


def run(picture: Picture, context: StageContext) -> Output:
    """Return the metadata. A broken entry counts as missing and never fails the stage."""
    embedded = picture.embedded
    iptc, properties = embedded.iptc, xmp.read(embedded.xmp, embedded.xmp_extended)
    tags = xmp_tags.complete(embedded.tags, properties)
    taken = dates.taken(tags, properties, iptc, context.origin)
    moment = None if taken is None else taken[0]
    digitized = dates.digitized(tags, properties)
    at = gps.time(tags)
    return Output(
        result=MetadataResult(
            width=picture.width,
            height=picture.height,
            orientation=picture.orientation,
            taken_at=None if moment is None else moment.text,
            taken_at_source=None if taken is None else taken[1],
            taken_at_subsecond_ms=None if moment is None else moment.subsecond_ms,
            taken_at_gps_offset=None
            if moment is None or at is None
            else dates.offset_by(moment, at),
            digitized_at=None if digitized is None else digitized.text,
            camera=camera(tags, properties),
            exposure=exposure.find(tags),
            gps=gps.find(tags),
            software=values.known(values.text(tags.of(Tag.SOFTWARE)))
            or values.known(properties.name("xmp:CreatorTool")),
            colour_space=picture.colour_space,
            colour_profile=embedded.profile_name,
            hdr_gain_map=picture.has_gain_map,
            bit_depth=embedded.bit_depth,
            motion_photo=embedded.video_bytes is not None,
            motion_video_bytes=embedded.video_bytes,
            content_identifier=values.text(tags.maker_note.content_identifier),
            description=descriptions.find(tags, properties, iptc),
            raw=picture.raw or msgspec.UNSET,
        )
    )


def camera(tags: Tags, properties: xmp.Properties) -> Camera:
    return Camera(
        make=_name(tags, Tag.MAKE) or values.known(properties.name("tiff:Make")),
        model=_name(tags, Tag.MODEL) or values.known(properties.name("tiff:Model")),
        lens=lens.find(tags, properties),
    )


def _name(tags: Tags, tag: Tag) -> str | None:
    return values.known(values.text(tags.of(tag)))
