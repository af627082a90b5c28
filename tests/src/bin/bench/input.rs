use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::Path,
};

use serde_json::json;

/// One chat request as a batch line.
pub(crate) fn line(index: usize, system: &str, user: &str) -> serde_json::Value {
    json!({
        "custom_id": format!("r{index}"), "method": "POST", "url": "/v1/chat/completions",
        "body": {
            "model": "simulated", "max_tokens": 16,
            "messages": [{"role": "system", "content": system}, {"role": "user", "content": user}],
        },
    })
}

/// Writes a batch of `lines` requests with one system prompt.
pub(crate) fn write(
    path: &Path,
    lines: usize,
    system: &str,
    user: impl Fn(usize) -> String,
) -> anyhow::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for index in 0..lines {
        serde_json::to_writer(&mut file, &line(index, system, &user(index)))?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
