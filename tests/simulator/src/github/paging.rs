//! Pages of a list, with the `Link` header.
//!
//! See <https://docs.github.com/rest/using-the-rest-api/using-pagination-in-the-rest-api>.

use serde_json::Value;

use super::answers::Parts;
use super::call::{Answered, Call};

const DEFAULT_SIZE: usize = 30;
const LARGEST_SIZE: usize = 100;

/// Cuts the asked page out of a whole list.
pub(super) fn page(call: &Call, items: Vec<Value>, size: Option<usize>, number: Option<usize>) -> Answered {
    let size = size.filter(|size| *size > 0).unwrap_or(DEFAULT_SIZE).min(LARGEST_SIZE);
    let number = number.unwrap_or(1).max(1);
    let last = items.len().div_ceil(size).max(1);
    let cut: Vec<Value> = items.into_iter().skip((number - 1).saturating_mul(size)).take(size).collect();
    let mut links = Vec::new();
    if number > 1 {
        links.push(link(call, number - 1, "prev"));
    }
    if number < last {
        links.push(link(call, number + 1, "next"));
        links.push(link(call, last, "last"));
    }
    if number > 1 {
        links.push(link(call, 1, "first"));
    }
    let headers = if links.is_empty() { Vec::new() } else { vec![("link".to_owned(), links.join(", "))] };
    let answer: Parts = (200, headers, Value::Array(cut));
    Ok(answer)
}

fn link(call: &Call, number: usize, relation: &str) -> String {
    let kept = call.query.split('&').filter(|field| !field.is_empty() && !field.starts_with("page="));
    let query: Vec<String> = kept.map(str::to_owned).chain([format!("page={number}")]).collect();
    format!("<{}{}?{}>; rel=\"{relation}\"", call.urls.web(), call.path, query.join("&"))
}
