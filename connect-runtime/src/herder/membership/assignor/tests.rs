//! The rules by example, and as properties of random situations.

use proptest::prelude::*;

use super::*;

type Members = BTreeMap<String, Held<Thing>>;

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Thing(String);

impl Item for Thing {
    fn kind(&self) -> &str {
        self.0.trim_end_matches(char::is_numeric)
    }
}

fn things(text: &str) -> BTreeSet<Thing> {
    text.split_whitespace().map(|thing| Thing(thing.to_owned())).collect()
}

/// `a: x0 x1 | b:` is two members; a line per member comes back, what is revoked behind a minus.
fn check(members: &str, wanted: &str, withheld: &str, expected: &[&str]) {
    let members = members.split('|').map(|member| {
        let (name, all) = member.split_once(':').unwrap();
        (name.trim().to_owned(), Held { all: things(all), ending: BTreeSet::new() })
    });
    let parts = divide(&members.collect(), &things(wanted), &things(withheld));
    let line = |(member, part): (&String, &Part<Thing>)| {
        let mut line = format!("{member}:");
        part.given.iter().for_each(|thing| line += &format!(" {}", thing.0));
        part.revoked.iter().for_each(|thing| line += &format!(" -{}", thing.0));
        line
    };
    assert_eq!(parts.iter().map(line).collect::<Vec<_>>(), expected);
}

#[test]
fn the_first_members_share_all() {
    check("a:", "x0 x1 y0", "", &["a: x0 x1 y0"]);
    check("a: | b:", "x0 x1 y0 y1", "", &["a: x0 y0", "b: x1 y1"]);
    check("a: | b: | c:", "x0", "", &["a: x0", "b:", "c:"]);
    check("a:", "", "", &["a:"]);
}

#[test]
fn a_newcomer_takes_from_those_with_the_most_in_two_rounds() {
    let wanted = "x0 x1 x2 y0 y1 y2";
    check("a: x0 x1 x2 | b: y0 y1 y2 | c:", wanted, "", &["a: x0 x1 -x2", "b: y0 y1 -y2", "c:"]);
    check("a: x0 x1 | b: y0 y1 | c:", wanted, "", &["a: x0 x1", "b: y0 y1", "c: x2 y2"]);
}

#[test]
fn what_a_lost_member_had_is_given_out_at_once_and_nothing_else_moves() {
    check("a: x0 y0 | b: x1 y1", "x0 x1 x2 y0 y1 y2", "", &["a: x0 x2 y0", "b: x1 y1 y2"]);
}

#[test]
fn what_is_withheld_waits_and_has_its_room() {
    let wanted = "x0 x1 x2 y0 y1 y2";
    check("a: x0 y0 | b: x1 y1", wanted, "x2 y2", &["a: x0 y0", "b: x1 y1"]);
    check("a: x0 y0 | b: x1 y1 | c:", wanted, "", &["a: x0 y0", "b: x1 y1", "c: x2 y2"]);
}

#[test]
fn what_is_not_wanted_is_neither_given_nor_revoked() {
    check("a: x0 gone0 | b: x1", "x0 x1", "", &["a: x0", "b: x1"]);
}

#[test]
fn what_two_claim_one_has_to_end() {
    check("a: x0 x1 | b: x1", "x0 x1", "", &["a: x0 -x1", "b: -x1"]);
}

#[test]
fn what_is_ending_anyway_goes_first() {
    let held = |all, ending| Held { all: things(all), ending: things(ending) };
    let members = BTreeMap::from([("a".to_owned(), held("x0 x1", "x0")), ("b".to_owned(), held("", ""))]);
    let parts = divide(&members, &things("x0 x1"), &things(""));
    assert_eq!((&parts["a"].given, &parts["a"].revoked), (&things("x1"), &things("x0")));
}

/// Members that hold some things, a few of them claimed twice or not wanted, and things to run.
fn situation() -> impl Strategy<Value = (Members, BTreeSet<Thing>)> {
    let holders = proptest::collection::vec((0usize..24, 0usize..9), 0..30);
    (1usize..7, holders, proptest::collection::btree_set(0usize..24, 0..24)).prop_map(
        |(count, holders, wanted)| {
            let thing = |n: usize| Thing(format!("{}{}", ["x", "y", "z"][n % 3], n / 3));
            let mut members: Members = (0..count).map(|n| (format!("m{n}"), Held::default())).collect();
            for (n, holder) in holders {
                if let Some(held) = members.get_mut(&format!("m{holder}")) {
                    held.all.insert(thing(n));
                }
            }
            (members, wanted.into_iter().map(thing).collect())
        },
    )
}

/// Every member does what it is told, and says so in the next round.
fn obey(parts: &BTreeMap<String, Part<Thing>>) -> Members {
    let obeyed = |part: &Part<Thing>| Held { all: part.given.clone(), ending: BTreeSet::new() };
    parts.iter().map(|(member, part)| (member.clone(), obeyed(part))).collect()
}

fn holder<'a>(members: &'a Members, thing: &Thing) -> Option<&'a String> {
    members.iter().find(|(_, held)| held.all.contains(thing)).map(|(member, _)| member)
}

/// The fewest things that have to leave a member, by trying every way to place the odd ones.
fn fewest_moves(kept: &[usize], wanted: usize) -> usize {
    let (each, odd) = (wanted / kept.len(), wanted % kept.len());
    let moves = |with_one_more: u32| {
        let quota = |place: usize| each + (with_one_more >> place & 1) as usize;
        kept.iter().enumerate().map(|(place, kept)| kept.saturating_sub(quota(place))).sum()
    };
    let ways = (0..1u32 << kept.len()).filter(|way| way.count_ones() as usize == odd);
    ways.map(moves).min().unwrap_or(0)
}

proptest! {
    #[test]
    fn a_round_gives_nothing_that_somebody_else_holds((members, wanted) in situation()) {
        let parts = divide(&members, &wanted, &BTreeSet::new());
        let mut given = BTreeSet::new();
        for (member, part) in &parts {
            for thing in &part.given {
                prop_assert!(wanted.contains(thing));
                prop_assert!(given.insert(thing.clone()), "{thing:?} was given twice");
                let others = members.iter().filter(|(other, held)| *other != member && held.all.contains(thing));
                for (other, _) in others {
                    // Claimed by two: then it was not given anew, and the other one has to end it.
                    prop_assert!(members[member].all.contains(thing) && parts[other].revoked.contains(thing));
                }
            }
            prop_assert!(part.revoked.iter().all(|thing| members[member].all.contains(thing)));
        }
    }

    #[test]
    fn two_rounds_reach_balance_by_the_fewest_moves((members, wanted) in situation()) {
        let first = divide(&members, &wanted, &BTreeSet::new());
        let second = divide(&obey(&first), &wanted, &BTreeSet::new());
        let sizes: Vec<usize> = second.values().map(|part| part.given.len()).collect();
        prop_assert_eq!(sizes.iter().sum::<usize>(), wanted.len());
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{:?}", sizes);
        prop_assert!(second.values().all(|part| part.revoked.is_empty()), "a second round revoked again");

        let kept: Vec<usize> = members.iter().map(|(member, held)| {
            held.all.iter().filter(|thing| wanted.contains(thing) && holder(&members, thing) == Some(member)).count()
        }).collect();
        let moved = first.iter().flat_map(|(member, part)| part.revoked.iter().map(move |thing| (member, thing)))
            .filter(|(member, thing)| holder(&members, thing) == Some(member)).count();
        prop_assert_eq!(moved, fewest_moves(&kept, wanted.len()));

        let third = divide(&obey(&second), &wanted, &BTreeSet::new());
        prop_assert_eq!(third, second, "a settled group moves nothing");
    }

    #[test]
    fn a_lost_member_moves_only_what_it_had((members, wanted) in situation(), lost in 0usize..7) {
        let settled = divide(&obey(&divide(&members, &wanted, &BTreeSet::new())), &wanted, &BTreeSet::new());
        let mut left = obey(&settled);
        prop_assume!(left.len() > 1);
        let gone = left.keys().nth(lost % left.len()).unwrap().clone();
        left.remove(&gone);
        let after = divide(&left, &wanted, &BTreeSet::new());
        for (member, part) in &after {
            prop_assert!(part.revoked.is_empty());
            prop_assert!(part.given.is_superset(&left[member].all));
        }
        prop_assert_eq!(after.values().map(|part| part.given.len()).sum::<usize>(), wanted.len());
    }

    #[test]
    fn a_newcomer_gets_its_share_and_nobody_else_anything((members, wanted) in situation()) {
        let settled = divide(&obey(&divide(&members, &wanted, &BTreeSet::new())), &wanted, &BTreeSet::new());
        let mut grown = obey(&settled);
        grown.insert("new".to_owned(), Held::default());
        let first = divide(&grown, &wanted, &BTreeSet::new());
        let second = divide(&obey(&first), &wanted, &BTreeSet::new());
        for (member, part) in second.iter().filter(|(member, _)| *member != "new") {
            prop_assert!(part.given.is_subset(&grown[member].all));
        }
        prop_assert_eq!(second["new"].given.len(), wanted.len() / grown.len());
    }

    #[test]
    fn what_is_withheld_moves_nothing_and_is_given_to_nobody((members, wanted) in situation(), lost in 0usize..7) {
        let settled = divide(&obey(&divide(&members, &wanted, &BTreeSet::new())), &wanted, &BTreeSet::new());
        let mut left = obey(&settled);
        prop_assume!(left.len() > 1);
        let gone = left.keys().nth(lost % left.len()).unwrap().clone();
        let withheld = left.remove(&gone).unwrap().all;
        let waiting = divide(&left, &wanted, &withheld);
        prop_assert_eq!(&obey(&waiting), &left);
        // And when it comes back under another name, it gets the same again; an odd one may fill up somebody else.
        left.insert("again".to_owned(), Held::default());
        let again = &divide(&left, &wanted, &BTreeSet::new())["again"].given;
        prop_assert!(again.is_subset(&withheld) && again.len() + 1 >= withheld.len());
    }
}
