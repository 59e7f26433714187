/**
 * Decode BlurHash: a picture's lowest cosine waves in about thirty characters of base 83.
 *
 * Layout, from the published algorithm (https://github.com/woltapp/blurhash/blob/master/Algorithm.md):
 * one character with the number of waves, one with the largest amplitude, four with the average
 * colour (sRGB), then two for each further wave, its amplitude a signed square in 19 steps a channel.
 */

const DIGITS =
  "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~";

/** @param {string} text */
function base83(text) {
  let value = 0;
  for (const character of text) {
    const digit = DIGITS.indexOf(character);
    if (digit < 0) throw new RangeError("not a BlurHash");
    value = value * 83 + digit;
  }
  return value;
}

/** @param {number} byte 0 to 255, sRGB */
function toLinear(byte) {
  const value = byte / 255;
  return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
}

/** @param {number} linear */
function toByte(linear) {
  const value = Math.min(1, Math.max(0, linear));
  const encoded = value <= 0.0031308 ? value * 12.92 : 1.055 * value ** (1 / 2.4) - 0.055;
  return Math.trunc(encoded * 255 + 0.5);
}

/** @param {number} step 0 to 18; 9 means an amplitude of zero */
function amplitude(step) {
  const value = (step - 9) / 9;
  return Math.sign(value) * value * value;
}

/**
 * @param {string} hash
 * @returns {{across: number, down: number, waves: [number, number, number][]}} linear RGB amplitudes
 */
function parse(hash) {
  const size = base83(hash.slice(0, 1));
  const across = (size % 9) + 1;
  const down = Math.floor(size / 9) + 1;
  if (hash.length !== 4 + 2 * across * down) throw new RangeError("not a BlurHash");
  const largest = (base83(hash.slice(1, 2)) + 1) / 166;
  const average = base83(hash.slice(2, 6));
  /** @type {[number, number, number][]} */
  const waves = [
    [toLinear(average >> 16), toLinear((average >> 8) & 255), toLinear(average & 255)],
  ];
  for (let at = 6; at < hash.length; at += 2) {
    const value = base83(hash.slice(at, at + 2));
    waves.push([
      amplitude(Math.floor(value / 361)) * largest,
      amplitude(Math.floor(value / 19) % 19) * largest,
      amplitude(value % 19) * largest,
    ]);
  }
  return { across, down, waves };
}

/**
 * @param {number} waves
 * @param {number} pixels
 * @returns {Float64Array[]} for each pixel, the height of each wave
 */
function cosines(waves, pixels) {
  return Array.from({ length: pixels }, (_, pixel) =>
    Float64Array.from({ length: waves }, (_, wave) => Math.cos((Math.PI * pixel * wave) / pixels)),
  );
}

/**
 * @param {string} hash
 * @param {number} width pixels
 * @param {number} height pixels
 * @returns {Uint8ClampedArray<ArrayBuffer>} RGBA, row by row
 * @throws {RangeError} when `hash` is not a BlurHash
 */
export function decode(hash, width, height) {
  const { across, down, waves } = parse(hash);
  const horizontal = cosines(across, width);
  const vertical = cosines(down, height);
  const pixels = new Uint8ClampedArray(width * height * 4);
  let at = 0;
  for (const row of vertical) {
    for (const column of horizontal) {
      let [red, green, blue] = [0, 0, 0];
      waves.forEach((wave, index) => {
        const weight = (column[index % across] ?? 0) * (row[Math.floor(index / across)] ?? 0);
        red += wave[0] * weight;
        green += wave[1] * weight;
        blue += wave[2] * weight;
      });
      pixels.set([toByte(red), toByte(green), toByte(blue), 255], at);
      at += 4;
    }
  }
  return pixels;
}

/**
 * Paint a small canvas with the picture's colours, which the style sheet stretches.
 * @param {string} hash
 * @param {number} ratio width over height
 * @returns {HTMLCanvasElement | null} null when `hash` is not a BlurHash
 */
export function paint(hash, ratio) {
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(ratio >= 1 ? 32 : 32 * ratio));
  canvas.height = Math.max(1, Math.round(ratio >= 1 ? 32 / ratio : 32));
  canvas.setAttribute("aria-hidden", "true");
  try {
    const pixels = decode(hash, canvas.width, canvas.height);
    canvas.getContext("2d")?.putImageData(new ImageData(pixels, canvas.width, canvas.height), 0, 0);
  } catch {
    return null;
  }
  return canvas;
}
