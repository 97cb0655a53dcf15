//! What stops a pass: budgets, sources and projects that are not what they were, what a deletion would take along.

use super::*;

#[test]
fn a_mass_deletion_is_parked_and_released_by_its_id_alone() {
    let world = World::new("", "");
    world.tag_many(20);
    world.program.sync(&[]).expect(0);
    for at in 0..10 {
        world.repository.delete_tag(format!("v{at:02}"));
    }
    world.tag("new", 1);
    let parked = world.program.sync(&[]).expect(3).remote();
    assert_eq!((&parked["counts"]["held"], &parked["counts"]["create"]), (&json!(10), &json!(1)));
    assert_eq!(world.far().len(), 21, "nothing was deleted, and the new tag was created all the same");
    let plan = parked["plan"].as_str().unwrap();
    assert!(parked["held"][0]["hint"].as_str().unwrap().contains(&format!("tagsyncd approve {plan}")));

    let refused = world.program.sync(&["--approve", "ffffffffffff"]).expect(3);
    assert!(refused.stderr.contains("released nothing"), "{}", refused.stderr);
    assert_eq!(world.far().len(), 21);
    let released = world.program.sync(&["--approve", plan]).expect(0).remote();
    assert_eq!((&released["counts"]["delete"], &released["plan"]), (&json!(10), &Value::Null));
    assert_eq!(world.far().len(), 11);
    assert!(released["changes"].as_array().unwrap().iter().all(|change| change["reason"] == "approved"));
}

#[test]
fn deletions_spread_over_passes_meet_the_same_budget() {
    let world = World::new("", "");
    world.tag_many(20);
    world.program.sync(&[]).expect(0);
    for at in 0..8 {
        world.repository.delete_tag(format!("v{at:02}"));
        world.program.sync(&[]);
    }
    assert_eq!(world.far().len(), 17, "three of twenty in 24 hours, whatever the pace");
}

#[test]
fn an_empty_or_missing_source_destroys_nothing() {
    let world = World::new("", "");
    world.tag_many(4);
    world.program.sync(&[]).expect(0);
    let before = world.far();
    for at in 0..4 {
        world.repository.delete_tag(format!("v{at:02}"));
    }
    let emptied = world.program.sync(&[]).expect(3).remote();
    assert_eq!(emptied["held"][0]["verdict"], "empty_source");

    std::fs::remove_dir_all(world.repository.path()).unwrap();
    let missing = world.program.sync(&[]).expect(1).json();
    assert!(
        missing["jobs"][0]["error"].as_str().unwrap().contains(&*world.repository.path().to_string_lossy()),
        "{missing}"
    );
    std::fs::create_dir(world.repository.path()).unwrap();
    world.program.sync(&[]).expect(1);
    assert_eq!(world.far(), before);
}

#[test]
fn another_repository_at_the_path_voids_the_records() {
    let world = World::new("", "");
    world.tag("v1", 0);
    world.tag("v2", 0);
    world.program.sync(&[]).expect(0);
    let other = SampleRepository::bare();
    let commit = other.commit("another");
    other.tag("v1", &commit);
    std::fs::rename(world.repository.path(), world.program.path("away")).unwrap();
    std::fs::rename(other.path(), world.repository.path()).unwrap();
    let before = world.far();
    let swapped = world.program.sync(&[]).expect(3).remote();
    assert!(swapped["notes"][0].as_str().unwrap().contains("identity changed"), "{swapped}");
    assert_eq!(world.far(), before);
}

#[test]
fn another_project_behind_the_url_voids_the_records() {
    let world = World::new("", "");
    world.tag_many(2);
    world.program.sync(&[]).expect(0);
    // The identity is believed for an hour, but only as long as there is nothing to do.
    world.gitlab.change(|gitlab| gitlab.recreate("infra/core"));
    world.put_far("v00", FakeTag::lightweight(&world.commits[0]));
    world.put_far("v01", FakeTag::lightweight(&world.commits[0]));
    world.repository.delete_tag("v01");
    let voided = world.program.sync(&[]).expect(0).remote();
    assert!(voided["notes"][0].as_str().unwrap().contains("identity changed"), "{voided}");
    assert_eq!((&voided["counts"]["adopt"], &voided["counts"]["unmanaged"]), (&json!(1), &json!(1)));
    assert_eq!(world.far().len(), 2);
    // From here on the new project is an ordinary one.
    world.repository.delete_tag("v00");
    world.tag("v02", 0);
    world.program.sync(&[]).expect(0);
    assert_eq!(world.far(), expected(&[("v01", &world.commits[0]), ("v02", &world.commits[0])]));
}

#[test]
fn another_project_in_the_configuration_is_another_tag_space() {
    let world = World::new("", "");
    world.tag_many(8);
    world.program.sync(&[]).expect(0);
    world.gitlab.change(|gitlab| gitlab.projects.insert(8, Project::new("infra/other")));
    let text = std::fs::read_to_string(world.program.path("config.toml")).unwrap();
    world.program.configure(&text.replace("infra/core", "infra/other"));
    let plan = world.program.plan(&[]).expect(0).remote();
    assert_eq!(plan["counts"]["create"], 8, "nothing has vanished, because nothing was ever there: {plan}");
    world.program.sync(&[]).expect(0);
    assert_eq!((world.gitlab.tags("infra/other").len(), world.far().len()), (8, 8));
}

#[test]
fn a_release_is_not_destroyed_unless_that_is_allowed() {
    for (setting, deleted) in
        [("", false), (r#"allow_release_loss = ["v0*"]"#, true), ("allow_release_loss = false", false)]
    {
        let world = World::new("", setting);
        world.tag_many(4);
        world.program.sync(&[]).expect(0);
        world.put_far("v01", FakeTag::lightweight(&world.commits[0]).with_release("notes"));
        world.repository.delete_tag("v01");
        let ended = world.program.sync(&[]).expect(if deleted { 0 } else { 3 }).remote();
        assert_eq!(world.far().len(), if deleted { 3 } else { 4 }, "{setting}: {ended}");
    }
    // A release that the credential cannot see counts as one.
    let world = World::new("", "");
    world.tag_many(4);
    world.program.sync(&[]).expect(0);
    world.gitlab.change(|gitlab| gitlab.quirks.hides_release = true);
    world.repository.delete_tag("v01");
    assert_eq!(world.program.sync(&[]).expect(3).remote()["held"][0]["verdict"], "side_effect");
}
