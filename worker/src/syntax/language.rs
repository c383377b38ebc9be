//! Which language a file is in.

/// A language whose syntax is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names of the languages say all")]
pub enum Language {
    Rust,
    Python,
    JavaScript,
    TypeScript,
    Tsx,
    Go,
    Java,
    C,
    Cpp,
    CSharp,
    Ruby,
    Php,
    Bash,
    Json,
    Yaml,
    Toml,
}

struct Known {
    language: Language,
    name: &'static str,
    extensions: &'static [&'static str],
    names: &'static [&'static str],
    interpreters: &'static [&'static str],
}

const fn known(
    language: Language,
    name: &'static str,
    extensions: &'static [&'static str],
    names: &'static [&'static str],
    interpreters: &'static [&'static str],
) -> Known {
    Known { language, name, extensions, names, interpreters }
}

const KNOWN: [Known; 16] = [
    known(Language::Rust, "Rust", &["rs"], &[], &[]),
    known(Language::Python, "Python", &["py", "pyi", "pyw"], &["SConstruct", "SConscript"], &["python"]),
    known(Language::JavaScript, "JavaScript", &["js", "mjs", "cjs", "jsx"], &[], &["node", "nodejs"]),
    known(Language::TypeScript, "TypeScript", &["ts", "mts", "cts"], &[], &["deno", "ts-node", "tsx"]),
    known(Language::Tsx, "TSX", &["tsx"], &[], &[]),
    known(Language::Go, "Go", &["go"], &[], &[]),
    known(Language::Java, "Java", &["java"], &[], &[]),
    known(Language::C, "C", &["c"], &[], &[]),
    known(
        Language::Cpp,
        "C++",
        &["cc", "cpp", "cxx", "c++", "h", "hh", "hpp", "hxx", "ipp", "inl"],
        &[],
        &[],
    ),
    known(Language::CSharp, "C#", &["cs", "csx"], &[], &[]),
    known(
        Language::Ruby,
        "Ruby",
        &["rb", "rake", "gemspec", "ru"],
        &["Rakefile", "Gemfile", "Vagrantfile", "Podfile", "Fastfile", "Guardfile", "Capfile"],
        &["ruby"],
    ),
    known(Language::Php, "PHP", &["php", "phtml"], &[], &["php"]),
    known(
        Language::Bash,
        "Bash",
        &["sh", "bash"],
        &[".bashrc", ".bash_profile", ".profile", "PKGBUILD"],
        &["sh", "bash", "dash"],
    ),
    known(
        Language::Json,
        "JSON",
        &["json", "jsonc", "geojson", "webmanifest"],
        &[".babelrc", "composer.lock"],
        &[],
    ),
    known(Language::Yaml, "YAML", &["yaml", "yml"], &[".clang-format", ".clang-tidy"], &[]),
    known(Language::Toml, "TOML", &["toml"], &["Cargo.lock", "Pipfile", "poetry.lock", "uv.lock"], &[]),
];

/// The languages whose syntax is checked, each with its name and the extensions it is known by.
pub fn languages() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    KNOWN.iter().map(|known| (known.name, known.extensions))
}

/// The language of a file, by its name, its extension, or the program its first line names.
pub(super) fn of(path: &str, bytes: &[u8]) -> Option<Language> {
    let name = path.rsplit('/').next()?;
    let extension = name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let by_name = KNOWN.iter().find(|known| known.names.contains(&name));
    let by_extension = || {
        let extension = extension.as_deref()?;
        KNOWN.iter().find(|known| known.extensions.contains(&extension))
    };
    let by_program = || {
        let program = interpreter(bytes)?;
        KNOWN.iter().find(|known| known.interpreters.contains(&program))
    };
    by_name.or_else(by_extension).or_else(by_program).map(|known| known.language)
}

/// The program that the first line names, without its version: `python` of `#!/usr/bin/env -S python3.12 -u`.
fn interpreter(bytes: &[u8]) -> Option<&str> {
    let line = bytes.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    let base = |word: &'_ str| word.rsplit('/').next().map(str::len).unwrap_or(0);
    let mut word = words.next()?;
    if word.ends_with("/env") {
        word = words.find(|word| !word.starts_with('-') && !word.contains('='))?;
    }
    let name = word.get(word.len() - base(word)..)?;
    Some(name.trim_end_matches(|character: char| character.is_ascii_digit() || character == '.'))
}

impl Language {
    pub(super) fn grammar(self) -> tree_sitter::Language {
        match self {
            Self::Rust => tree_sitter_rust::LANGUAGE.into(),
            Self::Python => tree_sitter_python::LANGUAGE.into(),
            Self::JavaScript => tree_sitter_javascript::LANGUAGE.into(),
            Self::TypeScript => tree_sitter_typescript::LANGUAGE_TYPESCRIPT.into(),
            Self::Tsx => tree_sitter_typescript::LANGUAGE_TSX.into(),
            Self::Go => tree_sitter_go::LANGUAGE.into(),
            Self::Java => tree_sitter_java::LANGUAGE.into(),
            Self::C => tree_sitter_c::LANGUAGE.into(),
            Self::Cpp => tree_sitter_cpp::LANGUAGE.into(),
            Self::CSharp => tree_sitter_c_sharp::LANGUAGE.into(),
            Self::Ruby => tree_sitter_ruby::LANGUAGE.into(),
            Self::Php => tree_sitter_php::LANGUAGE_PHP.into(),
            Self::Bash => tree_sitter_bash::LANGUAGE.into(),
            Self::Json => tree_sitter_json::LANGUAGE.into(),
            Self::Yaml => tree_sitter_yaml::LANGUAGE.into(),
            Self::Toml => tree_sitter_toml_ng::LANGUAGE.into(),
        }
    }

    /// Whether macros may make good text unreadable for the grammar.
    pub(super) fn has_preprocessor(self) -> bool {
        matches!(self, Self::C | Self::Cpp)
    }

    /// Whether the text may be a template that only becomes the language once it is filled in.
    pub(super) fn is_template(self, bytes: &[u8]) -> bool {
        let is_expression = |at: usize| at.checked_sub(1).and_then(|at| bytes.get(at)) == Some(&b'$');
        let is_open = |pair: &[u8]| pair == b"{{" || pair == b"{%";
        matches!(self, Self::Yaml | Self::Json | Self::Toml)
            && bytes.windows(2).enumerate().any(|(at, pair)| is_open(pair) && !is_expression(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_known_by_name_extension_or_first_line() {
        for (path, text, expected) in [
            ("src/a.RS", "", Some(Language::Rust)),
            ("Gemfile", "", Some(Language::Ruby)),
            ("bin/run", "#!/usr/bin/env -S python3.12 -u\n", Some(Language::Python)),
            ("bin/run", "#!/bin/sh\n", Some(Language::Bash)),
            ("bin/run", "#!/usr/bin/env A=1 node\n", Some(Language::JavaScript)),
            ("bin/run", "#!", None),
            ("bin/run", "#!/usr/bin/awk -f", None),
            ("Makefile", "a:\n", None),
            ("a.rs/b", "", None),
        ] {
            assert_eq!(of(path, text.as_bytes()), expected, "{path} {text}");
        }
    }

    #[test]
    fn every_grammar_fits_the_library() {
        for known in &KNOWN {
            let mut parser = tree_sitter::Parser::new();
            parser.set_language(&known.language.grammar()).unwrap();
        }
        assert_eq!(languages().count(), 16);
    }
}
