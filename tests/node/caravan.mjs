// Caravan as a process, for as long as the tests run.
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";

const MS = 60_000;
const ROOT = resolve(import.meta.dirname, "../..");
const PROGRAMS = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, "target"), "debug");

/** What `look` gives, once that is something. */
export async function until(look, what) {
  for (const end = Date.now() + MS; Date.now() < end; await pause(20)) {
    const found = await look();
    if (found) return found;
  }
  throw new Error(`${what}: not within ${MS} ms`);
}

/** A Caravan with one engine of 4 slots that takes 50 ms an answer: where it serves, and how to end it. */
export async function start() {
  const directory = mkdtempSync(join(tmpdir(), "caravan-node-"));
  const running = [];
  const run = async (program, ...args) => {
    const ready = join(directory, `${program}.json`);
    const child = spawn(join(PROGRAMS, program), [...args, "--ready-file", ready], { stdio: "ignore" });
    const ended = new Promise((done) => child.once("exit", done).once("error", done));
    running.unshift(async () => (child.kill(), ended));
    await until(() => {
      if (child.exitCode !== null) throw new Error(`${program} ended`);
      return existsSync(ready);
    }, `${program} is ready`);
    return JSON.parse(readFileSync(ready, "utf8"));
  };
  const stop = async () => {
    for (const end of running) await end();
    rmSync(directory, { recursive: true });
  };
  try {
    const engine = await run("simulated-engine", "--slots", "4", "--answer-ms", "50");
    const addresses = ["--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"];
    const engines = ["--engine", `ollama=${engine.http}`, "--slots", "4"];
    const up = await run("caravan", "up", "--data-dir", join(directory, "data"), ...engines, ...addresses);
    return { http: up.http, directory, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}
