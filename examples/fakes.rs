//! The fake remotes of the tests, for programs that are not tests: `cargo run --example fakes`.
//!
//! Starts one of each on a free port of the loopback interface, prints a line `NAME URL` for each, and serves until its
//! standard input ends. Each accepts the token `secret`; what it has, the function named `with_core` of its world says.

#![expect(clippy::print_stdout, reason = "the addresses are for the one who started it")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::io::{Read as _, Write as _};

use support::codearts::{CodeArtsWorld, FakeCodeArts};
use support::gitea::{FakeGitea, GiteaWorld};
use support::github::{FakeGithub, GithubWorld};
use support::gitlab::{FakeGitlab, GitlabWorld};
use support::registry::{FakeRegistry, RegistryWorld};
use support::vercel::FakeVercel;
use support::vers::{FakeVers, VersWorld, snapshot_id};

fn main() -> std::io::Result<()> {
    let gitlab = FakeGitlab::start(GitlabWorld::with_core());
    println!("gitlab {}", gitlab.url());
    let github = FakeGithub::start(GithubWorld::with_core());
    println!("github {}", github.url());
    let gitea = FakeGitea::start(GiteaWorld::with_core());
    println!("gitea {}", gitea.url());
    let codearts = FakeCodeArts::start(CodeArtsWorld::with_core());
    println!("codearts {}", codearts.url());
    // Images are there under the names that are given as arguments, as if they had just been built.
    let images = || {
        let mut world = RegistryWorld::with_manifests(3);
        std::env::args().skip(1).enumerate().for_each(|(at, name)| world.tag(&name, at % 3));
        world
    };
    let vercel = FakeVercel::start(images());
    println!("vercel {} {}", vercel.url(), vercel.registry.url());
    let registry = FakeRegistry::start(images());
    println!("oci {}", registry.url());
    let vers = FakeVers::start(VersWorld::with_core());
    // With the snapshots that it has.
    println!("vers {} {} {} {}", vers.url(), snapshot_id(0), snapshot_id(1), snapshot_id(2));
    std::io::stdout().flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
