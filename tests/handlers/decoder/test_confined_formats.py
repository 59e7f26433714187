"""Decoders that load or print something of their own work in a confined process too."""

from pathlib import Path

from domain.photo.results import ValidationResult
from handlers.decoder.pool import DecoderPool
from tests.handlers.imaging.test_damage import bilevel
from tests.handlers.imaging.test_jxl import written
from tests.handlers.imaging.test_raw import PREVIEW, raw_file
from tests.handlers.pictures import encoded, gradient


async def test_every_kind_of_file_is_read_within_the_sandbox(tmp_path: Path) -> None:
    files = {
        "JXL": written(gradient(60, 40)),
        "RAW": raw_file(b"SONY", PREVIEW),
        "TIFF": encoded(gradient(60, 40), "TIFF", compression="tiff_lzw"),
        "PNG": encoded(gradient(60, 40), "PNG"),
        "GIF": encoded(gradient(60, 40), "GIF"),
    }

    async with DecoderPool(count=1) as pool:
        for name, data in files.items():
            path = tmp_path / name
            path.write_bytes(data)

            output = await pool.run(stage="validation", affinity=name, source=path, timeout_s=30)

            assert isinstance(output.result, ValidationResult)
            assert (output.result.format, output.result.damaged) == (name, False)


async def test_a_decoder_hears_of_fax_codes_that_cannot_be_read(tmp_path: Path) -> None:
    data = bytearray(encoded(bilevel(), "TIFF", compression="group4"))
    data[2_000:2_040] = b"\x11" * 40
    path = tmp_path / "fax.tif"

    async with DecoderPool(count=1) as pool:
        for each, damaged in ((bytes(data), True), (encoded(bilevel(), "TIFF"), False)):
            path.write_bytes(each)
            output = await pool.run(
                stage="validation", affinity=str(damaged), source=path, timeout_s=30
            )

            assert isinstance(output.result, ValidationResult)
            assert output.result.damaged is damaged
