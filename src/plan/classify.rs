//! The three-way table: what one name's source (s), record (b) and remote (r) ask for.
//!
//! ```text
//! s b r   create-only      mirror                 exact        an immutable name, in every policy
//! - - -   nothing          nothing                nothing
//! A - -   create           create                 create
//! - - A   unmanaged        unmanaged              delete A     no delete: held
//! A - A   adopt            adopt                  adopt
//! A - B   held: differs    held: not ours         move B>A     no move: held
//! - A -   forget           forget                 forget
//! - A A   retained         delete A               delete A     no delete: held
//! - A B   retained         held: drifted, gone    delete B     no delete: held
//! A A -   create           create (drift)         create (drift)
//! A A A   in sync          in sync                in sync
//! A A B   held: differs    move B>A (drift)       move B>A     as the policy says (it restores the pin)
//! A B -   create           create (drift)         create       held: the source left the pin
//! A B A   record           record                 record       held: both left the pin
//! A B B   held: differs    move B>A               move B>A     no move: held
//! A B C   held: differs    move C>A (drift)       move C>A     no move: held
//! ```

use super::{Cause, Conflict, Policy};

/// What a name's three values ask for, before anything but the policy and its patterns has a say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The name is nowhere.
    Nothing,
    /// All three agree.
    InSync,
    /// The remote lacks it.
    Create(Cause),
    /// The remote has another value.
    Move(Cause),
    /// The source no longer has it.
    Delete,
    /// Both sides agree already: it becomes ours.
    Adopt,
    /// Both sides went to the same new value: only the record changes.
    Record,
    /// Gone on both sides: only the record goes.
    Forget,
    /// On the remote, never ours, not in the source.
    Unmanaged,
    /// Ours, gone from the source, and the policy never deletes.
    Retained,
    /// A person must decide.
    Held(Conflict),
}

/// What the configuration says about one name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameRules {
    /// Never moved, never deleted.
    pub protected: bool,
    /// Its first seen value is pinned.
    pub immutable: bool,
}

/// Judges one name. All 64 combinations of three values fall into the fifteen rows above.
pub fn classify<V: PartialEq>(
    s: Option<&V>,
    b: Option<&V>,
    r: Option<&V>,
    policy: Policy,
    rules: NameRules,
) -> Verdict {
    use Policy::{CreateOnly, Exact, Mirror};
    let drift_unless_create_only = if policy == CreateOnly { Cause::Ordinary } else { Cause::Drift };
    let verdict = match (s, b, r) {
        (None, None, None) => Verdict::Nothing,
        (Some(_), None, None) => Verdict::Create(Cause::Ordinary),
        (None, None, Some(_)) => match policy {
            CreateOnly | Mirror => Verdict::Unmanaged,
            Exact => Verdict::Delete,
        },
        (Some(s), None, Some(r)) if s == r => Verdict::Adopt,
        (Some(_), None, Some(_)) => match policy {
            CreateOnly => Verdict::Held(Conflict::Differs),
            Mirror => Verdict::Held(Conflict::NotOurs),
            Exact => Verdict::Move(Cause::Ordinary),
        },
        (None, Some(_), None) => Verdict::Forget,
        (None, Some(b), Some(r)) => match policy {
            CreateOnly => Verdict::Retained,
            Mirror if b != r => Verdict::Held(Conflict::DriftedThenRemoved),
            Mirror | Exact => Verdict::Delete,
        },
        (Some(s), Some(b), None) => {
            if rules.immutable && s != b {
                return Verdict::Held(Conflict::SourceLeftPin);
            }
            let deliberate = policy == Exact && s != b;
            Verdict::Create(if deliberate { Cause::Ordinary } else { drift_unless_create_only })
        }
        (Some(s), Some(b), Some(r)) if s == r => {
            if s == b {
                Verdict::InSync
            } else if rules.immutable {
                return Verdict::Held(Conflict::BothLeftPin);
            } else {
                Verdict::Record
            }
        }
        (Some(_), Some(b), Some(r)) => match policy {
            CreateOnly => Verdict::Held(Conflict::Differs),
            Mirror | Exact => Verdict::Move(if b == r { Cause::Ordinary } else { Cause::Drift }),
        },
    };
    let destructive = matches!(verdict, Verdict::Move(_) | Verdict::Delete);
    // The one move that an immutable name allows puts the pinned value back.
    let restores_pin = matches!(verdict, Verdict::Move(_)) && b.is_some() && s == b;
    if destructive && rules.protected {
        Verdict::Held(Conflict::Protected)
    } else if destructive && rules.immutable && !restores_pin {
        Verdict::Held(Conflict::Immutable)
    } else {
        verdict
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Adopt, Create, Delete, Forget, Held, InSync, Move, Nothing, Record, Retained, Unmanaged};

    const CREATE: Verdict = Create(Cause::Ordinary);
    const RECREATE: Verdict = Create(Cause::Drift);
    const MOVE: Verdict = Move(Cause::Ordinary);
    const RESTORE: Verdict = Move(Cause::Drift);
    const DIFFERS: Verdict = Held(Conflict::Differs);
    const PINNED: Verdict = Held(Conflict::Immutable);

    /// The table of the contract: row, create-only, mirror, exact, mirror with an immutable name.
    const TABLE: [(&str, [Verdict; 4]); 15] = [
        ("---", [Nothing, Nothing, Nothing, Nothing]),
        ("A--", [CREATE, CREATE, CREATE, CREATE]),
        ("--A", [Unmanaged, Unmanaged, Delete, Unmanaged]),
        ("A-A", [Adopt, Adopt, Adopt, Adopt]),
        ("A-B", [DIFFERS, Held(Conflict::NotOurs), MOVE, Held(Conflict::NotOurs)]),
        ("-A-", [Forget, Forget, Forget, Forget]),
        ("-AA", [Retained, Delete, Delete, PINNED]),
        ("-AB", [Retained, Held(Conflict::DriftedThenRemoved), Delete, Held(Conflict::DriftedThenRemoved)]),
        ("AA-", [CREATE, RECREATE, RECREATE, RECREATE]),
        ("AAA", [InSync, InSync, InSync, InSync]),
        ("AAB", [DIFFERS, RESTORE, RESTORE, RESTORE]),
        ("AB-", [CREATE, RECREATE, CREATE, Held(Conflict::SourceLeftPin)]),
        ("ABA", [Record, Record, Record, Held(Conflict::BothLeftPin)]),
        ("ABB", [DIFFERS, MOVE, MOVE, PINNED]),
        ("ABC", [DIFFERS, RESTORE, RESTORE, PINNED]),
    ];

    /// The row that three values belong to: letters in the order of their first appearance.
    fn row(sides: [Option<u8>; 3]) -> String {
        let mut seen = Vec::new();
        sides
            .into_iter()
            .map(|side| match side {
                None => '-',
                Some(value) => {
                    let at = seen.iter().position(|&known| known == value).unwrap_or_else(|| {
                        seen.push(value);
                        seen.len() - 1
                    });
                    char::from(b'A' + u8::try_from(at).unwrap())
                }
            })
            .collect()
    }

    fn all_combinations() -> impl Iterator<Item = [Option<u8>; 3]> {
        let values = [None, Some(1), Some(2), Some(3)];
        values
            .into_iter()
            .flat_map(move |s| values.into_iter().flat_map(move |b| values.into_iter().map(move |r| [s, b, r])))
    }

    #[test]
    fn all_64_combinations_follow_the_table() {
        let mut rows = std::collections::BTreeSet::new();
        for sides in all_combinations() {
            let row = row(sides);
            let (_, expected) = TABLE.iter().find(|(name, _)| *name == row).unwrap();
            let [s, b, r] = sides;
            let judge = |policy, immutable| {
                classify(s.as_ref(), b.as_ref(), r.as_ref(), policy, NameRules { protected: false, immutable })
            };
            let verdicts = [
                judge(Policy::CreateOnly, false),
                judge(Policy::Mirror, false),
                judge(Policy::Exact, false),
                judge(Policy::Mirror, true),
            ];
            assert_eq!(verdicts, *expected, "{row} from {sides:?}");
            rows.insert(row);
        }
        assert_eq!(rows.len(), TABLE.len());
    }

    #[test]
    fn what_must_hold_in_every_policy_holds() {
        for [s, b, r] in all_combinations() {
            let (s, b, r) = (s.as_ref(), b.as_ref(), r.as_ref());
            for policy in [Policy::CreateOnly, Policy::Mirror, Policy::Exact] {
                for (protected, immutable) in [(false, false), (false, true), (true, false), (true, true)] {
                    let verdict = classify(s, b, r, policy, NameRules { protected, immutable });
                    let destructive = matches!(verdict, Move(_) | Delete);
                    assert!(!(destructive && policy == Policy::CreateOnly), "create-only never moves or deletes");
                    assert!(!(destructive && protected), "a protected name never moves or goes");
                    assert!(
                        !(destructive && b.is_none() && policy != Policy::Exact),
                        "without a record nothing is destroyed"
                    );
                    assert!(
                        !(verdict == Delete && policy == Policy::Mirror && b != r),
                        "a mirror deletes only what it left"
                    );
                    assert!(!(verdict == Delete && s.is_some()), "what the source has is never deleted");
                    if immutable {
                        let to = match verdict {
                            Create(_) | Move(_) => b.is_none() || s == b,
                            Delete => false,
                            Nothing | InSync | Adopt | Forget | Unmanaged | Retained | Held(_) => true,
                            Record => false,
                        };
                        assert!(to, "an immutable name changes only back to its pin: {s:?} {b:?} {r:?} {policy:?}");
                    }
                    assert!(!(matches!(verdict, Create(_)) && r.is_some()), "a create meets an empty place");
                    assert_eq!(verdict == InSync, s.is_some() && s == b && b == r);
                }
            }
        }
    }
}
