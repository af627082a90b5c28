use std::{
    fs::File,
    io::{self, BufWriter, Seek as _, Write as _},
};

use caravan_request::Endpoint;
use serde::Serialize;

use super::{
    Error, Format, Rows,
    source::{self, Row},
};

/// A line that says only what is its own.
#[derive(Serialize)]
struct Line<'r> {
    custom_id: &'r str,
    body: Body<'r>,
}

/// Where the text of a row goes.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum Body<'r> {
    Messages([Message<'r>; 1]),
    Prompt(&'r str),
    Input(&'r str),
}

#[derive(Serialize)]
struct Message<'r> {
    role: &'static str,
    content: &'r str,
}

/// Columns that name a request, the first that there is.
const ID_COLUMNS: [&str; 2] = ["custom_id", "id"];

/// The lines of `rows`, and how many bytes they are.
pub(super) fn convert(rows: &Rows, from: impl io::Read) -> Result<(File, u64), Error> {
    let mut out = BufWriter::new(tempfile::tempfile()?);
    let (mut number, mut text) = (0_u64, String::new());
    let each = |line: u64, row: Row<'_>| {
        number += 1;
        text.clear();
        let wrong = |what| Error::Line { line, what };
        rows.template.fill(row.columns(), |column| row.value(column), &mut text).map_err(wrong)?;
        let id = match &rows.id_column {
            Some(column) => Some(row.required(column).map_err(wrong)?),
            None => ID_COLUMNS.iter().find_map(|column| row.value(column)),
        };
        let custom_id = id.unwrap_or_else(|| format!("row-{number}").into());
        let line = Line { custom_id: &custom_id, body: body(rows.endpoint, &text) };
        serde_json::to_writer(&mut out, &line).map_err(io::Error::from)?;
        Ok(out.write_all(b"\n")?)
    };
    match rows.format {
        Format::Csv => source::csv(from, each)?,
        Format::Jsonl => source::jsonl(from, each)?,
    }
    let mut file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    let bytes = file.stream_position()?;
    Ok((file, bytes))
}

fn body(endpoint: Endpoint, text: &str) -> Body<'_> {
    match endpoint {
        Endpoint::ChatCompletions | Endpoint::OllamaChat => {
            Body::Messages([Message { role: "user", content: text }])
        }
        Endpoint::Completions | Endpoint::OllamaGenerate => Body::Prompt(text),
        Endpoint::Embeddings | Endpoint::OllamaEmbed => Body::Input(text),
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, path::Path};

    use super::*;
    use crate::rows::template::Template;

    fn rows(format: Format, id_column: Option<&str>, template: &str) -> Rows {
        Rows {
            template: Template::parse(template).unwrap(),
            format,
            id_column: id_column.map(str::to_owned),
            endpoint: Endpoint::ChatCompletions,
        }
    }

    fn lines(rows: &Rows, text: impl AsRef<[u8]>) -> Result<Vec<(String, String)>, String> {
        let (mut file, bytes) =
            rows.convert(text.as_ref(), Path::new("in")).map_err(|failure| failure.to_string())?;
        file.rewind().unwrap();
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        assert_eq!(text.len() as u64, bytes);
        let line = |line: &str| {
            let line: serde_json::Value = serde_json::from_str(line).unwrap();
            let content = line["body"]["messages"][0]["content"].as_str().unwrap().to_owned();
            (line["custom_id"].as_str().unwrap().to_owned(), content)
        };
        Ok(text.lines().map(line).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Result<Vec<(String, String)>, String> {
        Ok(pairs.iter().map(|(id, text)| ((*id).to_owned(), (*text).to_owned())).collect())
    }

    #[test]
    fn rows_of_csv() {
        let rows = rows(Format::Csv, None, "{name}: {text}");
        let text = "\u{feff}id,name,text\r\n7,a,\"x, \"\"y\"\"\nz\"\r\n8,ü,\r\n";
        assert_eq!(lines(&rows, text), pairs(&[("7", "a: x, \"y\"\nz"), ("8", "ü: ")]));
        assert_eq!(lines(&rows, "name,text\na,b\nc,d"), pairs(&[("row-1", "a: b"), ("row-2", "c: d")]));
        assert_eq!(lines(&rows, "name,text\n"), pairs(&[]));
        assert_eq!(lines(&rows, ""), pairs(&[]));
    }

    #[test]
    fn rows_of_jsonl() {
        let rows = rows(Format::Jsonl, None, "{n}");
        let text = "{\"n\":1.50,\"custom_id\":\"a\",\"id\":3}\r\n\n{\"n\":null}\n{\"n\":[1,\"x\"],\"id\":3}";
        assert_eq!(lines(&rows, text), pairs(&[("a", "1.50"), ("row-2", ""), ("3", "[1,\"x\"]")]));
        assert!(lines(&rows, "{\"n\":1}\n{").is_err_and(|why| why.starts_with("in: line 2: not one JSON")));
        assert!(lines(&rows, "{\"m\":1}").is_err_and(|why| why.contains("no column \"n\", only: m")));
    }

    #[test]
    fn the_column_of_ids_may_be_named() {
        assert_eq!(lines(&rows(Format::Csv, Some("b"), "{a}"), "id,a,b\n1,2,3\n"), pairs(&[("3", "2")]));
        let missing = lines(&rows(Format::Csv, Some("c"), "{a}"), "id,a,b\n1,2,3\n");
        assert!(missing.is_err_and(|why| why.starts_with("in: line 2: there is no column \"c\"")));
    }

    #[test]
    fn csv_that_cannot_be_read_is_told_by_its_line() {
        let rows = rows(Format::Csv, None, "{a}");
        let told = |text: &[u8]| lines(&rows, text).unwrap_err();
        assert_eq!(
            told(b"a,b\n\"1\n2\",2\n3\n"),
            "in: line 4: the row's number of fields is 1, that of the line of column names 2"
        );
        assert_eq!(told(b"a,b\n1,\xff\n"), "in: line 2: the row is not UTF-8: save the file as UTF-8");
        assert_eq!(told(b"a,a\n1,2\n"), "in: line 1: two columns are named \"a\": rename one");
        let open = [b"a\n\"".to_vec(), vec![b'x'; 17 << 20]].concat();
        assert!(told(&open).contains("is a quote left open?"));
    }
}
