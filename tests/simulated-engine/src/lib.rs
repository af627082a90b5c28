//! A simulated engine with Ollama's native API, for tests and load.
