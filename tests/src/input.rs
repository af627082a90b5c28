use serde_json::{Value, json};

/// The model that a simulated engine has unless told otherwise.
pub const MODEL: &str = "simulated";

/// An input file, and what is to come of each of its lines.
#[derive(Debug, Clone, Default)]
pub struct Input {
    bytes: Vec<u8>,
    lines: u64,
    expected: Vec<Expected>,
}

/// One non-empty line.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Its number, from 1.
    pub line: u64,
    /// Its `custom_id`, if it has one that can be read.
    pub custom_id: Option<String>,
    /// What it asks, if an answer to it can be recognised.
    pub question: Option<String>,
}

// === impl Input ===

impl Input {
    /// No line yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// `count` chats `r0`, `r1`, … on one system prompt; each question carries its id as marker.
    #[must_use]
    pub fn chats(count: usize, system: &str) -> Self {
        let mut input = Self::new();
        for index in 0..count {
            let id = format!("r{index}");
            input = input.chat(&id, system, &format!("marker={id} what is {index}?"));
        }
        input
    }

    /// A chat in OpenAI's form.
    #[must_use]
    pub fn chat(self, custom_id: &str, system: &str, question: &str) -> Self {
        let body = json!({"model": MODEL, "messages": [
            {"role": "system", "content": system}, {"role": "user", "content": question},
        ]});
        self.request(custom_id, "/v1/chat/completions", body, Some(question))
    }

    /// A request of any form; an answer to `question` is recognised.
    #[must_use]
    pub fn request(mut self, custom_id: &str, url: &str, body: Value, question: Option<&str>) -> Self {
        let line = json!({"custom_id": custom_id, "method": "POST", "url": url, "body": body});
        self.add(line.to_string().as_bytes(), Some(custom_id), question);
        self
    }

    /// A line as it is, without a `custom_id` that could be relied upon.
    #[must_use]
    pub fn line(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.add(bytes.as_ref(), None, None);
        self
    }

    /// Changes the bytes of the whole; the lines and their numbers must stay.
    #[must_use]
    pub fn with_bytes(mut self, change: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Self {
        self.bytes = change(self.bytes);
        self
    }

    /// The file.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its non-empty lines.
    #[must_use]
    pub fn expected(&self) -> &[Expected] {
        &self.expected
    }

    fn add(&mut self, bytes: &[u8], custom_id: Option<&str>, question: Option<&str>) {
        self.lines += 1;
        self.bytes.extend_from_slice(bytes);
        self.bytes.push(b'\n');
        if !bytes.trim_ascii().is_empty() {
            let (custom_id, question) = (custom_id.map(str::to_owned), question.map(str::to_owned));
            self.expected.push(Expected { line: self.lines, custom_id, question });
        }
    }
}
