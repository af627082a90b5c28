"""Print URL and first chat model of the Ollama at OLLAMA_HOST; exit 1 if there is none."""

import json
import os
import sys
import urllib.parse
import urllib.request

PORT = 11434
SECONDS = 3


def address(host: str) -> str:
    """What `host` names, as Ollama reads it: scheme and port may be missing."""
    has_scheme = "://" in host
    url = urllib.parse.urlsplit(host if has_scheme else f"http://{host}")
    name = url.hostname or "127.0.0.1"
    if name in ("0.0.0.0", "::"):
        name = "127.0.0.1"
    port = url.port or (None if has_scheme else PORT)
    name = f"[{name}]" if ":" in name else name
    return f"{url.scheme}://{name}" + (f":{port}" if port else "")


def chats(model: dict) -> bool:
    """Whether it completes texts. Older versions do not say: then its family tells."""
    capabilities = model.get("capabilities")
    if capabilities is not None:
        return "completion" in capabilities
    return "bert" not in (model.get("details") or {}).get("family", "")


def main() -> None:
    try:
        url = address(os.environ.get("OLLAMA_HOST") or "127.0.0.1")
        with urllib.request.urlopen(f"{url}/api/tags", timeout=SECONDS) as answer:
            models = json.load(answer).get("models") or []
    except (OSError, ValueError):
        sys.exit(1)
    chat = next((model["name"] for model in models if chats(model)), None)
    if chat is None:
        sys.exit(f"the Ollama at {url} has no chat model")
    print(url, chat)


if __name__ == "__main__":
    main()
