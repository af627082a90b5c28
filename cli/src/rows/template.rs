use std::fmt::Write as _;

/// A text with holes for the values of a row.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

/// Columns that an error message names.
const NAMED: usize = 20;

// === impl Template ===

impl Template {
    /// `{column}` is a hole; `{{` and `}}` are braces. The error says what is wrong and the way out.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (mut parts, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(at) = rest.find(['{', '}']) {
            let (before, braced) = rest.split_at(at);
            plain.push_str(before);
            if let Some(after) = braced.strip_prefix("{{") {
                plain.push('{');
                rest = after;
            } else if let Some(after) = braced.strip_prefix("}}") {
                plain.push('}');
                rest = after;
            } else {
                let hole = braced.strip_prefix('{').and_then(|hole| hole.split_once('}'));
                let (column, after) = hole.filter(|(column, _)| !column.is_empty()).ok_or_else(|| {
                    let byte = text.len() - braced.len() + 1;
                    format!(
                        "has a brace at byte {byte} that is no {{column}}: write {{{{ or }}}} for a brace"
                    )
                })?;
                parts.extend((!plain.is_empty()).then(|| Part::Text(std::mem::take(&mut plain))));
                parts.push(Part::Column(column.to_owned()));
                rest = after;
            }
        }
        plain.push_str(rest);
        parts.extend((!plain.is_empty()).then_some(Part::Text(plain)));
        Ok(Self(parts))
    }

    /// The text with the values of one row, appended to `out`.
    pub(super) fn fill<'r>(
        &self,
        columns: &[String],
        value: impl Fn(&str) -> Option<std::borrow::Cow<'r, str>>,
        out: &mut String,
    ) -> Result<(), String> {
        for part in &self.0 {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Column(column) => out.push_str(&value(column).ok_or_else(|| unknown(column, columns))?),
            }
        }
        Ok(())
    }
}

/// There is no such column; says which there are.
pub(super) fn unknown(column: &str, columns: &[String]) -> String {
    let mut said = format!("there is no column {column:?}, only:");
    for (index, known) in columns.iter().take(NAMED).enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let _ = write!(said, "{comma} {known}");
    }
    if columns.len() > NAMED {
        let _ = write!(said, " and {} more", columns.len() - NAMED);
    }
    said + " (in the template, {{ and }} are braces)"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str) -> Result<String, String> {
        let columns = ["name".to_owned(), "a b".to_owned()];
        let mut out = String::new();
        let value = |column: &str| match column {
            "name" => Some("{x}".into()),
            "a b" => Some("".into()),
            _ => None,
        };
        Template::parse(template)?.fill(&columns, value, &mut out)?;
        Ok(out)
    }

    #[test]
    fn holes_are_filled_and_double_braces_are_braces() {
        for (template, wanted) in [
            ("", ""),
            ("plain\ntext ü", "plain\ntext ü"),
            ("{name}", "{x}"),
            ("a {name}{name} b{a b}", "a {x}{x} b"),
            (r#"{{"k": "{name}"}}"#, r#"{"k": "{x}"}"#),
            ("{{name}}", "{name}"),
        ] {
            assert_eq!(filled(template).as_deref(), Ok(wanted), "{template}");
        }
    }

    #[test]
    fn a_brace_or_a_column_that_is_none_is_told_with_the_way_out() {
        for template in ["{", "}", "a {} b", "{name", "x } y"] {
            assert!(filled(template).is_err_and(|why| why.contains("write {{ or }}")), "{template}");
        }
        assert_eq!(
            filled("{nam}"),
            Err("there is no column \"nam\", only: name, a b (in the template, {{ and }} are braces)".into())
        );
    }
}
