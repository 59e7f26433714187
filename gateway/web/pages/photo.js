/** A photo as the API returns it, and how its events change it: no requests, no elements. */

/**
 * @typedef {{size: number, width: number, height: number, fileSize: number, mimeType: string, url: string}} Thumbnail
 * @typedef {{width: number, height: number, fileSize: number, mimeType: string, url: string}} Optimized
 * @typedef {"queued" | "processing" | "completed" | "failed"} Status
 * @typedef {"queued" | "completed" | "retrying" | "failed"} StageState
 */

/**
 * @typedef {object} Facts of the metadata stage; null is unknown
 * @property {string | null} takenAt
 * @property {string | null} takenAtSource
 * @property {number | null} takenAtSubsecondMs
 * @property {string | null} digitizedAt
 * @property {{make: string | null, model: string | null, lens: string | null}} camera
 * @property {{time: string | null, fNumber: number | null, iso: number | null, focalLength: number | null, focalLength35mm: number | null, compensationEv: number | null, program: string | null, meteringMode: string | null, flashFired: boolean | null, flashMode: string | null, whiteBalance: string | null}} exposure
 * @property {{latitude: number, longitude: number, altitude: number | null, directionDegrees: number | null} | null} gps
 * @property {string | null} software
 * @property {string | null} colourSpace
 * @property {string | null} colourProfile
 * @property {boolean | null} hdrGainMap
 * @property {number | null} bitDepth
 * @property {boolean | null} motionPhoto
 * @property {number | null} motionVideoBytes
 * @property {string | null} contentIdentifier
 * @property {{title: string | null, caption: string | null, keywords: string[], rating: number | null, creator: string | null, copyright: string | null}} description
 * @property {{kind: string, rendition: "embedded-preview" | "developed", sensorWidth: number | null, sensorHeight: number | null}} [raw] only of RAW files
 */

/**
 * @typedef {object} PhotoItself
 * @property {string} photoId
 * @property {string} jobId
 * @property {string} originalFilename
 * @property {string} mimeType
 * @property {number} fileSize bytes
 * @property {string} sha256
 * @property {Status} processingStatus
 * @property {string | null} processingError
 * @property {string | null} processingErrorCode
 * @property {boolean} damaged
 * @property {string} uploadedAt
 * @property {number | null} width of the upright picture
 * @property {number | null} height
 * @property {string | null} blurhash
 * @property {Thumbnail[]} thumbnails
 * @property {Optimized | null} optimized
 * @property {number} version the number of its events
 * @property {string} position of its last event
 * @property {Record<string, StageState>} [stages] of its current job, as far as this page knows
 */

/** @typedef {PhotoItself & Facts} Photo */

/**
 * @typedef {object} Rendition
 * @property {string} name
 * @property {string} key
 * @property {number} width
 * @property {number} height
 * @property {number} fileSize bytes
 * @property {string} mimeType
 * @property {string} sha256
 */

/**
 * The result of each stage.
 * @typedef {object} StageResults
 * @property {{format: string, width: number, height: number, damaged: boolean, warning: string | null}} validation
 * @property {Facts & {width: number, height: number, orientation: number}} metadata
 * @property {{sizes: number[]}} thumbnails
 * @property {{blurhash: string}} placeholder
 * @property {{recipe: string}} optimization
 */

/**
 * @typedef {{stage: string, attempt: number, code: string, error: string, retryAt: string | null}} FailedStage
 * @typedef {{[Stage in keyof StageResults]: {
 *   stage: Stage, result: StageResults[Stage], renditions: Rendition[], durationMs: number,
 * }}[keyof StageResults]} CompletedStage stages added by later versions have other names
 */

/**
 * The data of each type of event, beside the photo's id.
 * @typedef {{
 *   "photo.uploaded": {
 *     jobId: string, originalFilename: string, mimeType: string, fileSize: number, sha256: string, pipeline: string,
 *   },
 *   "photo.processing.requested": {jobId: string, pipeline: string},
 *   "photo.processing.prioritized": {jobId: string, priority: number},
 *   "photo.processing.hurried": {jobId: string},
 *   "photo.processing.started": {jobId: string},
 *   "photo.thumbnail.generated": {jobId: string, size: number, thumbnail: Rendition},
 *   "photo.processing.stage.completed": {jobId: string} & CompletedStage,
 *   "photo.processing.stage.failed": {jobId: string} & FailedStage,
 *   "photo.processing.completed": {jobId: string},
 *   "photo.processing.failed": {jobId: string, category: string, code: string, error: string},
 *   "photo.processing.discarded": {jobId: string, reason: string},
 *   "photo.renditions.superseded": {jobId: string},
 *   "photo.renditions.removed": {},
 *   "photo.original.restored": {cause: "missing" | "altered"},
 *   "photo.described": {},
 *   "photo.deleted": {},
 *   "photo.erased": {},
 * }} EventData
 */

/**
 * An event of one type. `id` is its position.
 * @template {keyof EventData} Type
 * @typedef {{
 *   id: string,
 *   type: Type,
 *   timestamp: string,
 *   data: {photoId: string} & EventData[Type],
 *   metadata: {photoVersion: number, clientId: string, sessionId: string | null},
 * }} EventOf
 */

/**
 * An event of a photo. Later versions of Photolog may send other types.
 * @typedef {{[Type in keyof EventData]: EventOf<Type>}[keyof EventData]} PhotoEvent
 */

/** @type {Facts} */
const NO_FACTS = {
  takenAt: null,
  takenAtSource: null,
  takenAtSubsecondMs: null,
  digitizedAt: null,
  camera: { make: null, model: null, lens: null },
  exposure: {
    time: null,
    fNumber: null,
    iso: null,
    focalLength: null,
    focalLength35mm: null,
    compensationEv: null,
    program: null,
    meteringMode: null,
    flashFired: null,
    flashMode: null,
    whiteBalance: null,
  },
  gps: null,
  software: null,
  colourSpace: null,
  colourProfile: null,
  hdrGainMap: null,
  bitDepth: null,
  motionPhoto: null,
  motionVideoBytes: null,
  contentIdentifier: null,
  description: {
    title: null,
    caption: null,
    keywords: [],
    rating: null,
    creator: null,
    copyright: null,
  },
};

/** The stages in display order; others follow them. */
export const STAGES = ["validation", "metadata", "thumbnails", "placeholder", "optimization"];

/** @type {Record<string, string[]>} */
const PIPELINES = { full_processing: STAGES, quick_processing: ["validation", "thumbnails"] };

/**
 * @param {string} pipeline
 * @returns {Record<string, StageState>}
 */
export function queuedStages(pipeline) {
  return Object.fromEntries((PIPELINES[pipeline] ?? []).map((stage) => [stage, "queued"]));
}

/**
 * Return the new photo of a `photo.uploaded` event.
 * @param {EventOf<"photo.uploaded">} event
 * @returns {Photo}
 */
export function photoFromUpload({ id, timestamp, data, metadata }) {
  return {
    photoId: data.photoId,
    jobId: data.jobId,
    originalFilename: data.originalFilename,
    mimeType: data.mimeType,
    fileSize: data.fileSize,
    sha256: data.sha256,
    processingStatus: "queued",
    processingError: null,
    processingErrorCode: null,
    damaged: false,
    uploadedAt: timestamp,
    width: null,
    height: null,
    ...NO_FACTS,
    blurhash: null,
    thumbnails: [],
    optimized: null,
    version: metadata.photoVersion,
    position: id,
    stages: queuedStages(data.pipeline),
  };
}

/**
 * Return the photo after the event that directly follows its version.
 * @param {Photo} photo
 * @param {PhotoEvent} event
 * @returns {Photo | null} null if the event is not enough: fetch the photo from the API
 */
export function evolve(photo, event) {
  const facts = factsOf(photo, event);
  if (facts === null) return null;
  return { ...photo, ...facts, version: event.metadata.photoVersion, position: event.id };
}

/**
 * @param {Photo} photo
 * @param {PhotoEvent} event
 * @returns {Partial<Photo> | null}
 */
function factsOf(photo, { type, data }) {
  switch (type) {
    case "photo.processing.requested":
      return {
        jobId: data.jobId,
        processingStatus: "queued",
        processingError: null,
        processingErrorCode: null,
        stages: queuedStages(data.pipeline),
      };
    case "photo.processing.started":
      return { processingStatus: "processing" };
    case "photo.thumbnail.generated": {
      const { key: _key, name: _name, sha256: _sha256, ...picture } = data.thumbnail;
      const url = `/api/photos/${encodeURIComponent(photo.photoId)}/thumbnails/${data.size}`;
      const others = photo.thumbnails.filter(({ size }) => size !== data.size);
      const thumbnails = [...others, { size: data.size, ...picture, url }];
      return { thumbnails: thumbnails.sort((a, b) => a.size - b.size) };
    }
    case "photo.processing.stage.completed":
      return {
        ...resultOf(photo, data),
        stages: { ...photo.stages, [data.stage]: "completed" },
      };
    case "photo.processing.stage.failed": {
      const state = data.retryAt === null ? "failed" : "retrying";
      return { stages: { ...photo.stages, [data.stage]: state } };
    }
    case "photo.processing.completed":
      return { processingStatus: "completed", processingError: null, processingErrorCode: null };
    case "photo.processing.failed":
      return { processingStatus: "failed", processingError: data.error, processingErrorCode: data.code };
    default:
      return null;
  }
}

/**
 * @param {Photo} photo
 * @param {CompletedStage} completed
 * @returns {Partial<Photo>}
 */
function resultOf(photo, { stage, result, renditions }) {
  switch (stage) {
    case "validation":
      return { width: result.width, height: result.height, damaged: result.damaged };
    case "metadata": {
      // The size is that of the validation. An event of an older version lacks some facts.
      const { width: _width, height: _height, orientation: _orientation, ...facts } = result;
      const exposure = { ...NO_FACTS.exposure, ...facts.exposure };
      return { ...NO_FACTS, ...facts, exposure };
    }
    case "placeholder":
      return { blurhash: result.blurhash };
    case "optimization": {
      const [optimized] = renditions;
      if (optimized === undefined) return {};
      const { width, height, fileSize, mimeType } = optimized;
      const url = `/api/photos/${encodeURIComponent(photo.photoId)}/optimized`;
      return { optimized: { width, height, fileSize, mimeType, url } };
    }
    default:
      return {};
  }
}

/** @param {Photo} photo */
export function isRunning({ processingStatus }) {
  return processingStatus === "queued" || processingStatus === "processing";
}

/** Categories of failures where another attempt on the same file is useless. */
const OF_THE_FILE = ["data", "security"];

/** @param {string | null} category of a failure */
export function isOfTheFile(category) {
  return OF_THE_FILE.includes(category ?? "");
}
