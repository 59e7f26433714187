// Upload a file with tus-js-client, as its users do; print the address and what it became.
//
// node upload.js OPTIONS: a JSON object with client, file, endpoint, token, protocol, and optionally
// chunkSize, parallelUploads, stopAt (stop once so many bytes are accepted), uploadUrl.
"use strict";

const fs = require("node:fs");

const options = JSON.parse(process.argv[2]);
const tus = require(options.client);

// From a stream of a file, the client never sends the draft's Upload-Complete: ?1 after a chunk.
const source =
  options.protocol === "tus-v1"
    ? fs.createReadStream(options.file)
    : fs.readFileSync(options.file);

const upload = new tus.Upload(source, {
  endpoint: options.endpoint,
  uploadUrl: options.uploadUrl ?? null,
  uploadSize: options.parallelUploads ? null : fs.statSync(options.file).size,
  headers: { Authorization: `Bearer ${options.token}` },
  protocol: options.protocol,
  chunkSize: options.chunkSize ?? Infinity,
  parallelUploads: options.parallelUploads ?? 1,
  metadata: { filename: "from tus.png", filetype: "image/png" },
  retryDelays: [0, 100, 200],
  storeFingerprintForResuming: false,
  onChunkComplete: (size, accepted) => {
    if (options.stopAt && accepted >= options.stopAt) {
      console.log(JSON.stringify({ url: upload.url, accepted }));
      process.exit(0);
    }
  },
  onSuccess: ({ lastResponse }) => {
    const photo =
      lastResponse.getHeader("Content-Location") ?? lastResponse.getHeader("Location");
    console.log(JSON.stringify({ url: upload.url, photo }));
  },
  onError: (error) => {
    console.error(String(error));
    process.exit(1);
  },
});

upload.start();
