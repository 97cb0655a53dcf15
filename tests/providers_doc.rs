//! What the documents say about providers is what their descriptors say, and no provider is without a word.

use std::path::Path;
use std::process::Command;

use tagsyncd::config::Settings;
use tagsyncd::provider::PROVIDERS;

const PROVIDERS_MD: &str = "docs/providers.md";

/// How the block with the table begins and ends.
const FENCES: (&str, &str) = ("```text\n", "```\n");

fn read(file: &str) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|fault| panic!("{file}: {fault}"))
}

#[test]
fn the_table_of_providers_in_the_documentation_is_what_the_program_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_tagsyncd")).arg("providers").output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for descriptor in PROVIDERS {
        assert!(printed.contains(&format!("\n{}: {}. Names: ", descriptor.name, descriptor.title)), "{printed}");
    }
    let text = read(PROVIDERS_MD);
    let (before, rest) = text.split_once(FENCES.0).expect("the table stands in the first block of text");
    let (block, after) = rest.split_once(FENCES.1).expect("the block ends");
    if std::env::var_os("TAGSYNCD_RENEW").is_some() {
        std::fs::write(PROVIDERS_MD, format!("{before}{}{printed}{}{after}", FENCES.0, FENCES.1)).unwrap();
        return;
    }
    assert!(
        block == printed,
        "{PROVIDERS_MD} is not what `tagsyncd providers` prints; renew with \
         `TAGSYNCD_RENEW=1 cargo test --test providers_doc`, and look at the difference\n{printed}"
    );
}

#[test]
fn every_provider_has_a_section_a_table_of_keys_and_an_example() {
    let (providers, configuration) = (read(PROVIDERS_MD), read("docs/configuration.md"));
    let mut examples = vec![read("config/tagsyncd.toml")];
    examples.extend(std::fs::read_dir("config/examples").unwrap().map(|entry| {
        let file = entry.unwrap().path();
        let text = std::fs::read_to_string(&file).unwrap();
        if let Err(fault) = Settings::parse(&text, &file) {
            panic!("{fault}");
        }
        text
    }));
    for descriptor in PROVIDERS {
        let (name, title) = (descriptor.name, descriptor.title);
        let source = ["mod.rs", ".rs"].map(|end| match end {
            "mod.rs" => format!("src/provider/{name}/mod.rs"),
            _ => format!("src/provider/{name}.rs"),
        });
        assert!(source.iter().any(|file| Path::new(file).exists()), "{name} has a file or a folder of its name");
        assert!(providers.contains(&format!("\n## {title}\n")), "{PROVIDERS_MD} has no section `## {title}`");
        let keys = format!("Keys of `provider = \"{name}\"`:");
        assert!(configuration.contains(&keys), "docs/configuration.md has no table after `{keys}`");
        let used = examples.iter().any(|text| text.contains(&format!("\nprovider = \"{name}\"\n")));
        assert!(used, "no file in config/examples has a remote of the provider {name}");
    }
}
