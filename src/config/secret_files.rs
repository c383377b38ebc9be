//! Secrets that are files: `NAME_FILE=/path`, as container platforms mount them.

use std::fs::File;
use std::io::Read;

/// A secret file above this size in bytes is a mistake.
const SIZE_LIMIT: u64 = 64 * 1024;

/// The text of the file without its last newline, or what is wrong with it.
pub(super) fn read(path: &str) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("the secret file `{path}` cannot be read: {error}");
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(format!("the secret file `{path}` is larger than {SIZE_LIMIT} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| format!("the secret file `{path}` is not UTF-8 text"))?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(format!("the secret file `{path}` is empty"));
    }
    Ok(text.to_owned())
}
