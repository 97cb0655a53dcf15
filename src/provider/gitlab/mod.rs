use super::*;
pub static DESCRIPTOR: Descriptor = Descriptor {
    name: "gitlab",
    title: "",
    capabilities: Capabilities {
        target: crate::tag::TargetKind::Commit,
        moves: Moves::Recreate,
        deletes: Deletes::Yes,
        annotations: Annotations::Message,
        lease: Lease::LookBefore,
        create_refuses_existing: true,
        names: NameRules { summary: "", refuses: |_| None, are_refs: true },
    },
    read: |_, _| None,
};
