//! Small repositories and the tickets about them.

use proptest::prelude::*;

use super::*;
use crate::tree::{FileSource as _, MemoryTree};

fn shop() -> Vec<(String, String)> {
    let own = [
        ("Cargo.toml", "[package]\nname = \"shop\"\n"),
        ("Cargo.lock", "[[package]]\nname = \"shipping\"\nshipping = \"cart total quantity\"\n"),
        (
            "README.md",
            "# Shop\n\nThe cart has a total. The total of the cart counts shipping. Cart cart cart total.\n",
        ),
        ("src/main.rs", "mod cart;\nmod shipping;\nfn main() { cart::Cart::default().total(); }\n"),
        (
            "src/cart.rs",
            "use super::shipping;\n\npub struct Cart { items: Vec<Item> }\n\nimpl Cart {\n    /// Sums the items up.\n    \
             pub fn total(&self) -> u32 {\n        self.items.iter().map(|item| item.price).sum()\n    }\n}\n",
        ),
        ("src/item.rs", "pub struct Item { pub price: u32, pub quantity: u32 }\n"),
        (
            "src/shipping.rs",
            "pub fn calculate_rate(weight: u32) -> u32 {\n    weight * RATE_PER_KILOGRAM\n}\n",
        ),
        ("src/user.rs", "pub struct User { name: String }\nimpl User {\n    pub fn greet(&self) {}\n}\n"),
        ("src/mail/send.rs", "pub fn send_mail(user: &User) {\n    smtp.deliver(user)\n}\n"),
        (
            "src/mail/template.rs",
            "pub fn welcome(user: &User) -> String {\n    format!(\"Hello {}\", user.name)\n}\n",
        ),
        ("tests/cart.rs", "#[test]\nfn sums() {\n    assert_eq!(Cart::of(&[1, 2]).total(), 3);\n}\n"),
        ("tests/shipping.rs", "#[test]\nfn rates() {\n    assert_eq!(calculate_rate(2), 4);\n}\n"),
        ("src/api.pb.rs", "// Code generated. DO NOT EDIT.\nstruct CartTotalQuantity;\n"),
    ];
    let mut files: Vec<(String, String)> =
        own.into_iter().map(|(path, text)| (path.to_owned(), text.to_owned())).collect();
    for number in 0..40 {
        let text = "fn cart_total_quantity() { shipping(); calculate_rate(); welcome_mail(); }\n".repeat(20);
        files.push((format!("vendor/lib{number}/cart.rs"), text));
        files.push((format!("src/other{number}.rs"), format!("fn other_{number}() {{\n    work();\n}}\n")));
    }
    files
}

fn query(text: &str) -> Query {
    let (summary, description) = text.split_once('\n').unwrap_or((text, ""));
    Query { summary: summary.to_owned(), description: description.to_owned(), comments: Vec::new() }
}

fn chosen(text: &str) -> Vec<String> {
    let tree = MemoryTree::of_texts(shop());
    let context = select(&tree, &query(text), &Limits::default());
    context.files.into_iter().map(|file| file.path).collect()
}

fn place(files: &[String], path: &str) -> usize {
    files.iter().position(|file| file == path).unwrap_or_else(|| panic!("{path} is not among {files:?}"))
}

#[test]
fn the_file_a_ticket_is_about_is_among_the_first() {
    for (text, path, at_most) in [
        ("Cart total ignores the quantity of items\nTwo of a thing cost as much as one.", "src/cart.rs", 1),
        ("The welcome mail greets nobody\nIt says only Hello.", "src/mail/template.rs", 2),
        ("Wrong shipping rates for heavy weights", "src/shipping.rs", 0),
        ("calculateRate overflows", "src/shipping.rs", 0),
        ("Mails are not being sent", "src/mail/send.rs", 1),
        ("Users' names should be trimmed", "src/user.rs", 2),
    ] {
        let files = chosen(text);
        assert!(place(&files, path) <= at_most, "{text}: {files:?}");
    }
}

#[test]
fn vendored_generated_and_lock_files_are_not_chosen_unless_named() {
    let files = chosen("Cart total quantity shipping");
    assert!(
        files
            .iter()
            .all(|path| !path.starts_with("vendor/") && !path.contains("lock") && !path.contains(".pb."))
    );
    assert_eq!(chosen("Remove the old entry from Cargo.lock")[0], "Cargo.lock");
    assert_eq!(chosen("Patch vendor/lib3/cart.rs")[0], "vendor/lib3/cart.rs");
}

#[test]
fn a_stack_trace_comes_before_everything_else() {
    let trace = "Cart total shipping crashes\n\nthread 'main' panicked at src/user.rs:2:9\n   at /build/src/mail/send.rs:2";
    let files = chosen(trace);
    assert_eq!((files[0].as_str(), files[1].as_str()), ("src/user.rs", "src/mail/send.rs"));
    assert!(files.contains(&"src/cart.rs".to_owned()));
}

#[test]
fn the_test_of_a_chosen_file_comes_along() {
    let files = chosen("Wrong rate for heavy parcels in calculate_rate");
    assert!(place(&files, "tests/shipping.rs") <= 2, "{files:?}");
    assert!(place(&files, "src/shipping.rs") < place(&files, "tests/shipping.rs"));
}

#[test]
fn a_ticket_without_a_word_in_common_shows_the_tree_alone() {
    let tree = MemoryTree::of_texts(shop());
    for text in ["", "zzz qqq"] {
        let context = select(&tree, &query(text), &Limits::default());
        assert_eq!(context.files, []);
        assert!(context.tree.contains("cart.rs"));
    }
    assert_eq!(select(&MemoryTree::default(), &query("cart"), &Limits::default()).files, []);
}

fn long_file() -> String {
    let mut text = String::from("import os\n\n\nclass Ledger:\n");
    for number in 0..400 {
        text.push_str(&format!("    def entry_{number}(self):\n        return {number}\n\n"));
    }
    text.replace("entry_300", "refund_customer")
}

#[test]
fn a_long_file_is_shown_in_windows_around_what_matters() {
    let tree = MemoryTree::of_texts([("ledger.py", long_file())]);
    let limits = Limits { lines_per_file: 60, ..Limits::default() };
    let context = select(&tree, &query("Refund the customer twice\nseen at ledger.py:500"), &limits);
    let file = &context.files[0];
    assert!(!file.whole);
    assert_eq!(file.total_lines, 1_204);
    let text = long_file();
    let lines: Vec<&str> = text.lines().collect();
    for window in &file.windows {
        assert_eq!(window.lines, lines[window.first_line - 1..][..window.lines.len()]);
    }
    let shows = |line: usize| {
        file.windows
            .iter()
            .any(|window| (window.first_line..window.first_line + window.lines.len()).contains(&line))
    };
    assert!(shows(500) && shows(905) && shows(4) && shows(1) && !shows(700));
    assert!(file.windows.iter().map(|window| window.lines.len()).sum::<usize>() <= 60);
    let rendered = context.render();
    assert!(rendered.contains("## ledger.py (of 1204 lines, only 1 to 6, "), "{rendered}");
    assert!(rendered.contains("\n    def refund_customer(self):\n"));
    assert!(rendered.contains(" to 1204 are not shown)"));
}

#[test]
fn the_context_reads_well() {
    let tree = MemoryTree::of_texts([
        ("docs/cart.md", "Use:\n\n````\n```\ncart\n```\n````\n"),
        ("src/cart.rs", "fn cart() {}\n"),
    ]);
    let context = select(&tree, &query("the cart docs"), &Limits::default());
    insta::assert_snapshot!(context.render(), @r"
    ## Files of the repository

    ```
    docs/
      cart.md
    src/
      cart.rs
    ```

    ## docs/cart.md (whole file, 7 lines)

    `````md
    Use:

    ````
    ```
    cart
    ```
    ````
    `````

    ## src/cart.rs (whole file, 1 line)

    ```rs
    fn cart() {}
    ```
    ");
    assert_eq!(context.estimated_tokens, estimate_tokens(&context.render()));
    assert_eq!(context.shown().len(), 2);
}

#[test]
fn the_budget_is_kept_and_used() {
    let files = (0..30).map(|number| (format!("src/cart{number}.py"), long_file().replace("Ledger", "Cart")));
    let tree = MemoryTree::of_texts(files);
    for tokens in [500, 2_000, 8_000, 30_000] {
        let limits = Limits { tokens, ..Limits::default() };
        let context = select(&tree, &query("refund customer cart"), &limits);
        assert!(context.estimated_tokens <= tokens, "{} of {tokens}", context.estimated_tokens);
        assert!(
            tokens < 2_000 || context.estimated_tokens >= tokens / 4,
            "{} of {tokens}",
            context.estimated_tokens
        );
    }
}

#[test]
fn what_is_no_text_is_never_shown() {
    let tree =
        MemoryTree::of_texts([("cart.bin", b"cart\0cart".to_vec()), ("cart.txt", b"caf\xe9 cart".to_vec())]);
    assert_eq!(select(&tree, &query("cart.bin and cart.txt"), &Limits::default()).files, []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_tree_and_ticket_give_a_context_within_its_budget(
        files in proptest::collection::vec(("[a-c/._]{1,12}", "(cart|Total_x|fn |\n|`{3}|[ \t]|ü|\u{0}){0,200}"), 0..12),
        text in "(cart|total|a.b:3|`|\n|File \"a\", line 2|é){0,20}",
        tokens in 0_usize..3_000,
        lines_per_file in 0_usize..50,
    ) {
        let tree = MemoryTree::of_texts(files);
        let limits = Limits { tokens, lines_per_file, ..Limits::default() };
        let context = select(&tree, &query(&text), &limits);
        prop_assert!(context.files.is_empty() || context.estimated_tokens <= tokens);
        for file in &context.files {
            let shown: usize = file.windows.iter().map(|window| window.lines.len()).sum();
            prop_assert!(shown <= lines_per_file);
            prop_assert!(tree.entry(&file.path).is_some());
        }
    }
}
