// OpenAI's own client for Node, unmodified, against the HTTP port.
import assert from "node:assert/strict";
import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";

import OpenAI, { toFile } from "openai";

import { start, until } from "./caravan.mjs";

const REQUESTS = 100;
const NOBODY = "0".repeat(32);
const ENDED = ["completed", "failed", "cancelled", "expired"];

let caravan, client, path;

before(async () => {
  caravan = await start();
  client = new OpenAI({ baseURL: `${caravan.http}/v1`, apiKey: "none", maxRetries: 0 });
  const line = (number) => {
    const body = { model: "simulated", messages: [{ role: "user", content: `Text ${number}.` }], max_tokens: 8 };
    return JSON.stringify({ custom_id: `r-${number}`, method: "POST", url: "/v1/chat/completions", body });
  };
  path = join(caravan.directory, "input.jsonl");
  writeFileSync(path, Array.from({ length: REQUESTS }, (_, index) => line(index + 1) + "\n").join(""));
});

after(() => caravan?.stop());

/** The file comes before its purpose in the form, and without a length. */
const upload = () => client.files.create({ file: createReadStream(path), purpose: "batch" });

const create = (file, more = {}) =>
  client.batches.create({
    input_file_id: file.id,
    endpoint: "/v1/chat/completions",
    completion_window: "24h",
    ...more,
  });

const ended = (id) =>
  until(async () => {
    const batch = await client.batches.retrieve(id);
    return ENDED.includes(batch.status) && batch;
  }, "the batch ends");

async function all(pages) {
  const items = [];
  for await (const item of pages) items.push(item);
  return items;
}

test("a batch goes all the way", async () => {
  const file = await upload();
  assert.equal(file.filename, "input.jsonl");
  const batch = await ended((await create(file, { metadata: { team: "search" } })).id);
  assert.equal(batch.status, "completed");
  assert.deepEqual(batch.request_counts, { total: REQUESTS, completed: REQUESTS, failed: 0 });
  assert.deepEqual(batch.metadata, { team: "search" });
  assert.equal(batch.x_caravan.progress.chunks_done, batch.x_caravan.progress.chunks);
  const output = await (await client.files.content(batch.output_file_id)).text();
  const ids = output.trimEnd().split("\n").map((line) => JSON.parse(line).custom_id);
  assert.deepEqual(ids, Array.from({ length: REQUESTS }, (_, index) => `r-${index + 1}`));
});

test("lists go on by themselves", async () => {
  const ids = [];
  for (const name of ["a", "b", "c"]) {
    const file = await toFile(Buffer.from("{}"), name);
    ids.push((await client.files.create({ purpose: "batch", file })).id);
  }
  const files = await all(client.files.list({ limit: 1, order: "asc", purpose: "batch" }));
  assert.deepEqual(files.map((file) => file.id).filter((id) => ids.includes(id)), ids);
  const batches = [];
  for (const id of ids) batches.push((await create({ id })).id);
  const listed = await all(client.batches.list({ limit: 2 }));
  assert.deepEqual(listed.map((batch) => batch.id).filter((id) => batches.includes(id)), batches.reverse());
  for (const id of batches) assert.equal((await ended(id)).status, "failed");
});

test("cancelled is cancelled", async () => {
  const { id } = await create(await upload());
  await client.batches.cancel(id);
  assert.equal((await ended(id)).status, "cancelled");
});

test("models and deletion", async () => {
  const models = (await all(client.models.list())).map((model) => model.id);
  assert.ok(models.some((id) => id.startsWith("simulated")), `${models}`);
  assert.equal((await client.models.retrieve(models[0])).id, models[0]);
  const file = await upload();
  assert.equal((await client.files.delete(file.id)).deleted, true);
  await assert.rejects(client.files.retrieve(file.id), OpenAI.NotFoundError);
});

test("errors are of the right class and name the field", async () => {
  const file = await upload();
  const { NotFoundError, BadRequestError } = OpenAI;
  for (const [kind, code, param, call] of [
    [NotFoundError, "batch_not_found", null, () => client.batches.retrieve(`batch_${NOBODY}`)],
    [NotFoundError, "file_not_found", null, () => client.files.content(`file_${NOBODY}`)],
    [NotFoundError, "file_not_found", "input_file_id", () => create({ id: `file_${NOBODY}` })],
    [BadRequestError, "invalid_value", "completion_window", () => create(file, { completion_window: "soon" })],
    [BadRequestError, "invalid_type", "x_caravan.priority", () => create(file, { x_caravan: { priority: "high" } })],
    [BadRequestError, "invalid_value", "limit", () => client.batches.list({ limit: 0 })],
    [BadRequestError, "invalid_value", "purpose", () => client.files.create({ file: createReadStream(path), purpose: "vision" })],
    [NotFoundError, "unknown_url", null, () => client.chat.completions.create({ model: "simulated", messages: [] })],
  ]) {
    await assert.rejects(call, (error) => {
      assert.ok(error instanceof kind, `${error}`);
      assert.deepEqual([error.code, error.param, error.type], [code, param, "invalid_request_error"]);
      return true;
    });
  }
});
