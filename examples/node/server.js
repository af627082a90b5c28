// The server's messages and the way to it, from the environment.

import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import grpc from "@grpc/grpc-js";
import protoLoader from "@grpc/proto-loader";

const definition = protoLoader.loadSync(
  ["caravan/v1/file.proto", "caravan/v1/batch.proto", "google/rpc/status.proto", "google/rpc/error_details.proto"],
  {
    includeDirs: [fileURLToPath(new URL("../../proto", import.meta.url))],
    longs: Number,
    enums: String,
    defaults: true,
    oneofs: true,
  },
);
const v1 = grpc.loadPackageDefinition(definition).caravan.v1;

function credentials(url) {
  const key = process.env.CARAVAN_API_KEY;
  if (url.protocol === "http:") {
    if (key) throw new Error("CARAVAN_API_KEY is sent over https only: set CARAVAN_SERVER to an https URL");
    return grpc.credentials.createInsecure();
  }
  const ca = process.env.CARAVAN_TLS_CA;
  const tls = grpc.credentials.createSsl(ca ? readFileSync(ca) : null);
  if (!key) return tls;
  const withKey = grpc.credentials.createFromMetadataGenerator((_, done) => {
    const metadata = new grpc.Metadata();
    metadata.set("authorization", `Bearer ${key}`);
    done(null, metadata);
  });
  return grpc.credentials.combineChannelCredentials(tls, withKey);
}

/** Clients of the server that the environment names. */
export function connect() {
  const url = new URL(process.env.CARAVAN_SERVER ?? "http://127.0.0.1:4081");
  const address = `${url.hostname}:${url.port || (url.protocol === "http:" ? 80 : 443)}`;
  const made = credentials(url);
  return { files: new v1.FileService(address, made), batches: new v1.BatchService(address, made) };
}

/** The detail of an error of this kind, e.g. `RetryInfo`, if it has one. */
export function detail(error, kind) {
  const [bytes] = error.metadata?.get("grpc-status-details-bin") ?? [];
  if (!bytes) return undefined;
  const { details } = definition["google.rpc.Status"].deserialize(bytes);
  const found = details.find(({ type_url }) => type_url.endsWith(`/google.rpc.${kind}`));
  return found && definition[`google.rpc.${kind}`].deserialize(found.value);
}
