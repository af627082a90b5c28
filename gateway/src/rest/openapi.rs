//! `/openapi.json`: what this port serves, for generators of clients.

use axum::{
    http::{HeaderName, header},
    response::IntoResponse,
};

/// OpenAPI 3.1.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) async fn get() -> impl IntoResponse {
    const JSON: [(HeaderName, &str); 1] = [(header::CONTENT_TYPE, "application/json")];
    (JSON, DOCUMENT)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use axum::routing::MethodFilter;
    use caravan_proto::{access, v1::Role};
    use serde_json::Value;

    use super::{super::route::routes, *};

    fn word(method: MethodFilter) -> &'static str {
        let known =
            [(MethodFilter::GET, "get"), (MethodFilter::POST, "post"), (MethodFilter::DELETE, "delete")];
        known.into_iter().find(|(filter, _)| *filter == method).expect("a method of the list").1
    }

    fn role(role: Option<Role>) -> &'static str {
        role.map_or("anybody", access::word)
    }

    #[test]
    fn it_has_the_routes_that_there_are_with_their_roles() {
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        assert_eq!(document["openapi"], "3.1.0");
        let described: BTreeSet<(String, String, String)> = document["paths"]
            .as_object()
            .expect("paths")
            .iter()
            .flat_map(|(path, item)| {
                let methods = item.as_object().expect("an object").iter();
                let methods = methods.filter(|(key, _)| ["get", "post", "delete"].contains(&key.as_str()));
                methods.map(move |(method, operation)| {
                    let role = operation["x-caravan-role"].as_str().expect("a role");
                    (path.clone(), method.clone(), role.to_owned())
                })
            })
            .collect();
        let served = routes().into_iter().map(|route| {
            (route.path.replace("{*", "{"), word(route.method).to_owned(), role(route.role).to_owned())
        });
        assert_eq!(described, served.collect());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(fields) => {
                    found.extend(fields.get("$ref").and_then(Value::as_str));
                    fields.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_str(DOCUMENT).expect("JSON");
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20, "{}", found.len());
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("in this document");
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
