use std::collections::{BTreeMap, HashMap, HashSet};

use anyhow::{Context as _, bail, ensure};
use caravan_simulated_engine::answer_for;
use serde_json::Value;

use crate::{Expected, Input};

/// What came of an input.
#[derive(Debug, Default)]
pub struct Audit {
    /// Lines in the output file.
    pub answered: usize,
    /// By input line: the code of its line in the error file, or the status of its refusal.
    pub failed: BTreeMap<u64, String>,
    /// Prompt tokens of all answers that state them in OpenAI's form.
    pub prompt_tokens: u64,
    /// Answer tokens of those.
    pub completion_tokens: u64,
}

/// Holds output and error file against the input: every non-empty line is in exactly one of
/// them, once; each file is whole JSON lines in the form of OpenAI's batches and in input order;
/// no two lines have the same id; an answer belongs to its question.
///
/// # Errors
/// What does not hold.
pub fn audit(input: &Input, output: &[u8], errors: &[u8]) -> anyhow::Result<Audit> {
    let mut by_id: HashMap<&str, &Expected> = HashMap::new();
    for expected in input.expected() {
        if let Some(id) = &expected.custom_id {
            by_id.entry(id).or_insert(expected);
        }
    }
    let by_line: HashMap<u64, &Expected> = input.expected().iter().map(|e| (e.line, e)).collect();
    let mut seen: BTreeMap<u64, &str> = BTreeMap::new();
    let mut ids = HashSet::new();
    let mut audit = Audit::default();
    for (file, bytes) in [("output", output), ("errors", errors)] {
        let mut last = 0;
        for (text, record) in records(bytes).with_context(|| format!("in the {file} file"))? {
            let place = || format!("in the {file} file: {}", text.get(..300).unwrap_or(text));
            let own = check_form(&record).with_context(place)?;
            ensure!(ids.insert(own.to_owned()), "the id of another line, {}", place());
            let named = record["error"]["line"].as_u64().and_then(|line| by_line.get(&line));
            let id = record["custom_id"].as_str().and_then(|id| by_id.get(id));
            let expected = named.or(id).with_context(|| format!("of no line of the input, {}", place()))?;
            if let Some(other) = seen.insert(expected.line, file) {
                bail!("line {} twice, before in the {other} file, now {}", expected.line, place());
            }
            ensure!(expected.line > last, "line {} behind {last}, {}", expected.line, place());
            last = expected.line;
            if file == "output" {
                check_answer(&record, expected).with_context(place)?;
                audit.answered += 1;
                let usage = &record["response"]["body"]["usage"];
                audit.prompt_tokens += usage["prompt_tokens"].as_u64().unwrap_or_default();
                audit.completion_tokens += usage["completion_tokens"].as_u64().unwrap_or_default();
            } else {
                audit.failed.insert(expected.line, code(&record).with_context(place)?);
            }
        }
    }
    let lost: Vec<u64> = by_line.keys().copied().filter(|line| !seen.contains_key(line)).collect();
    ensure!(
        lost.is_empty(),
        "{} lines lost, e.g. {:?}",
        lost.len(),
        lost.iter().take(10).collect::<Vec<_>>()
    );
    Ok(audit)
}

// === impl Audit ===

impl Audit {
    /// Holds the counts of a batch, as JSON, against what was found.
    ///
    /// # Errors
    /// If they differ.
    pub fn agrees_with(&self, batch: &Value) -> anyhow::Result<()> {
        let requests = &batch["requests"];
        let counted = ["total", "succeeded", "failed"].map(|key| requests[key].as_u64().unwrap_or(u64::MAX));
        let failed = self.failed.len() as u64;
        let found = [self.answered as u64 + failed, self.answered as u64, failed];
        ensure!(counted == found, "the batch counts {counted:?}, its files hold {found:?}");
        Ok(())
    }

    /// Holds the usage of a batch, as JSON, against the sum of its lines: all of them in OpenAI's form,
    /// none asked a second time for its form's sake.
    ///
    /// # Errors
    /// If they differ.
    pub fn used_as(&self, batch: &Value) -> anyhow::Result<()> {
        let used = ["prompt_tokens", "completion_tokens"].map(|key| batch["usage"][key].as_u64());
        let found = [self.prompt_tokens, self.completion_tokens].map(Some);
        ensure!(used == found, "the batch used {used:?} tokens, its lines state {found:?}");
        Ok(())
    }
}

fn records(bytes: &[u8]) -> anyhow::Result<Vec<(&str, Value)>> {
    let text = std::str::from_utf8(bytes)?;
    ensure!(text.is_empty() || text.ends_with('\n'), "the last line is torn");
    let parse = |line| Ok((line, serde_json::from_str(line).with_context(|| format!("torn: {line}"))?));
    text.lines().map(parse).collect()
}

/// The fields of a line of OpenAI's output and error files, and what each may be; gives the line's id.
fn check_form(record: &Value) -> anyhow::Result<&str> {
    let fields = record.as_object().context("no object")?;
    for field in ["custom_id", "response", "error"] {
        ensure!(fields.contains_key(field), "no {field}");
    }
    let known = ["id", "custom_id", "response", "error", "x_caravan"];
    ensure!(fields.keys().all(|key| known.contains(&key.as_str())), "unknown fields");
    ensure!(record["custom_id"].is_string() || record["custom_id"].is_null(), "custom_id is no text");
    let (response, error) = (&record["response"], &record["error"]);
    ensure!(response.is_object() != error.is_object(), "not one of response and error");
    ensure!(response.is_null() || error.is_null(), "the other is not null");
    if response.is_object() {
        ensure!(response["status_code"].is_u64() && response["request_id"].is_string(), "no status");
    } else {
        ensure!(error["code"].is_string() && error["message"].is_string(), "neither code nor message");
    }
    record["id"].as_str().filter(|id| !id.is_empty()).context("no id")
}

fn check_answer(record: &Value, expected: &Expected) -> anyhow::Result<()> {
    ensure!(record["response"]["status_code"] == 200 && record["error"].is_null(), "not answered");
    let body = &record["response"]["body"];
    ensure!(body.is_object(), "no body");
    let Some(question) = &expected.question else { return Ok(()) };
    let texts = [
        &body["choices"][0]["message"]["content"],
        &body["choices"][0]["text"],
        &body["message"]["content"],
        &body["response"],
    ];
    let text = texts.into_iter().find_map(Value::as_str).context("no text")?;
    ensure!(text.contains(&answer_for(question)), "the answer to another question than {question:?}");
    Ok(())
}

fn code(record: &Value) -> anyhow::Result<String> {
    if let Some(code) = record["error"]["code"].as_str() {
        ensure!(record["error"]["message"].as_str().is_some_and(|text| !text.is_empty()), "no message");
        return Ok(code.to_owned());
    }
    let status = record["response"]["status_code"].as_u64().context("neither error nor status")?;
    ensure!(status != 200, "an answer among the errors");
    Ok(status.to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer(number: usize) -> String {
        let question = format!("marker=r{number} what is {number}?");
        json!({
            "id": format!("id{number}"), "custom_id": format!("r{number}"), "error": null,
            "response": {"status_code": 200, "request_id": "q", "body": {
                "choices": [{"message": {"content": answer_for(&question)}}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2},
            }},
        })
        .to_string()
    }

    /// What the audit says of an output of these lines for three requests.
    fn said(lines: &[String]) -> String {
        let output = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        let audited = audit(&Input::chats(3, "s"), output.as_bytes(), b"");
        audited.map_or_else(|error| format!("{error:#}"), |audit| format!("{} answered", audit.answered))
    }

    #[test]
    fn whatever_is_wrong_is_found() {
        let [one, two, three] = [answer(0), answer(1), answer(2)];
        let other = two.replace("id1", "id0");
        for (lines, expected) in [
            (vec![one.clone(), two.clone(), three.clone()], "3 answered"),
            (vec![one.clone(), three.clone()], "1 lines lost"),
            (vec![one.clone(), two.clone(), two.replace("id1", "id9"), three.clone()], "line 2 twice"),
            (vec![two.clone(), one.clone(), three.clone()], "line 1 behind 2"),
            (vec![one.clone(), two[..two.len() / 2].to_owned(), three.clone()], "torn"),
            (vec![one.clone(), other, three.clone()], "the id of another line"),
            (vec![one.clone(), two.replace("request_id", "x"), three.clone()], "no status"),
            (vec![one, two.replace("answer-", "answer+"), three], "the answer to another question"),
        ] {
            assert!(said(&lines).contains(expected), "{}", said(&lines));
        }
    }

    #[test]
    fn the_sum_of_tokens_is_held_against_the_batch() {
        let output = [0, 1, 2].map(|number| answer(number) + "\n").concat();
        let audit = audit(&Input::chats(3, "s"), output.as_bytes(), b"").unwrap();
        audit.used_as(&json!({"usage": {"prompt_tokens": 15, "completion_tokens": 6}})).unwrap();
        audit.used_as(&json!({"usage": {"prompt_tokens": 15, "completion_tokens": 7}})).unwrap_err();
    }
}
