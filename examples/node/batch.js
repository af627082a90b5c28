// Uploads a small batch, watches it over a connection that breaks, and reads each result once.
//
//     node examples/node/batch.js MODEL

import { createHash, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { status } from "@grpc/grpc-js";
import { connect, detail } from "./server.js";

const REQUESTS = 40;
// Calls without progress before it gives up.
const TRIES = 10;

const [model] = process.argv.slice(2);
if (!model) throw new Error("usage: node examples/node/batch.js MODEL");
const { files, batches } = connect();

function line(number) {
  const messages = [
    { role: "system", content: "You answer in one word." },
    { role: "user", content: `Text ${number}` },
  ];
  const body = { model, messages, max_tokens: 8 };
  return JSON.stringify({ custom_id: `r-${number}`, method: "POST", url: "/v1/chat/completions", body });
}

/** A unary call as a promise. */
function ask(client, method, request) {
  return new Promise((resolve, reject) =>
    client[method](request, (error, answer) => (error ? reject(error) : resolve(answer))),
  );
}

/** Waits for as long as the server asks; throws what no waiting helps against. */
async function waitAfter(error) {
  if (error.code !== status.UNAVAILABLE && error.code !== status.RESOURCE_EXHAUSTED) throw error;
  const delay = detail(error, "RetryInfo")?.retryDelay;
  await sleep(delay ? delay.seconds * 1000 + delay.nanos / 1e6 : 1000);
}

/** What `call` gives, which may need several tries. */
async function patiently(call) {
  for (let tries = 0; tries < TRIES; tries++) {
    try {
      return await call();
    } catch (error) {
      await waitAfter(error);
    }
  }
  throw new Error("the server cannot be reached");
}

/** Uploads `data`; goes on where an interrupted try stood. */
function upload(data) {
  const uploadId = randomUUID();

  async function stored() {
    try {
      return await ask(files, "queryUpload", { uploadId });
    } catch (error) {
      if (detail(error, "ErrorInfo")?.reason !== "UPLOAD_NOT_FOUND") throw error;
      return { committedBytes: 0, file: null };
    }
  }

  return patiently(async () => {
    const { committedBytes, file } = await stored();
    if (file) return file;
    return new Promise((resolve, reject) => {
      const call = files.uploadFile((error, answer) => (error ? reject(error) : resolve(answer)));
      call.write({ start: { uploadId, filename: "example.jsonl" } });
      for (let offset = committedBytes; offset < data.length; offset += 1 << 20) {
        call.write({ chunk: { offset, data: data.subarray(offset, offset + (1 << 20)) } });
      }
      call.end({ finish: { sha256: createHash("sha256").update(data).digest("hex") } });
    });
  });
}

/**
 * Messages up to the final one. `open` opens the rest of the stream, as often as it breaks; this example breaks
 * it itself after the first message.
 */
async function* resumed(what, open) {
  let [failures, whole] = [0, true];
  while (failures < TRIES) {
    const call = open();
    try {
      for await (const message of call) {
        failures = 0;
        yield message;
        if (message.final) return;
        if (whole) {
          whole = false;
          console.log(`${what}: broken off, resumed`);
          break;
        }
      }
    } catch (error) {
      failures++;
      await waitAfter(error);
    } finally {
      call.cancel();
    }
  }
  throw new Error("the server cannot be reached");
}

/** Prints how a batch gets on, to its end. */
async function watch(name) {
  let resumeToken = "";
  const open = () => batches.watchBatch({ name, resumeToken });
  for await (const message of resumed("watch", open)) {
    resumeToken = message.resumeToken;
    const { requests } = message.snapshot ?? message.delta?.batch ?? {};
    if (requests) console.log(`watch: ${requests.succeeded + requests.failed} of ${requests.total} are final`);
  }
}

/** Every result of a batch, once. */
async function* results(name) {
  let cursor = "";
  const open = () => batches.streamResults({ name, cursor, follow: true });
  for await (const page of resumed("results", open)) {
    yield* page.results;
    cursor = page.cursor;
  }
}

const data = Buffer.from(Array.from({ length: REQUESTS }, (_, number) => `${line(number)}\n`).join(""));
const file = await upload(data);
// The same requestId again gives the same batch: a lost answer costs nothing.
const wanted = { batch: { inputFile: file.name }, requestId: randomUUID() };
const batch = await patiently(() => ask(batches, "createBatch", wanted));
await watch(batch.name);
const seen = new Set();
for await (const result of results(batch.name)) {
  if (!result.succeeded || seen.has(result.customId)) throw new Error(`${result.customId}: failed, or came twice`);
  seen.add(result.customId);
}
if (seen.size !== REQUESTS) throw new Error(`${seen.size} of ${REQUESTS} answers came`);
console.log(`${batch.name}: ${seen.size} answers, each once`);
files.close();
batches.close();
