//! Groups of machines in a simulated world: what moves, when, and that nothing runs twice.

mod coordinator;
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use self::coordinator::SESSION_MS;
use self::world::World;
use crate::herder::ownership::TaskId;

/// Long enough for a group to settle: a join, what is revoked has ended, a join again.
const SETTLE_MS: u64 = 15_000;

fn settled(seed: u64, workers: usize, delay: Duration) -> World {
    let mut world = World::new(seed, delay);
    world.set_work(&[("a", 4), ("b", 3), ("c", 5), ("d", 0)]);
    for _ in 0..workers {
        world.add_worker();
    }
    world.run(SETTLE_MS, one_each);
    assert_settled(&world);
    world
}

fn one_each(world: &World) {
    for task in world.work().tasks() {
        let holders = world.holders(&task);
        assert!(holders.len() <= 1, "at {} ms {task} runs on {holders:?}", world.now);
    }
}

/// All that is wanted runs, once, evenly.
fn assert_settled(world: &World) {
    let live = || world.workers.iter().filter(|worker| !worker.is_dead);
    let running: Vec<_> = live().flat_map(|worker| worker.running.tasks.clone()).collect();
    let wanted: BTreeSet<_> = world.work().tasks().collect();
    assert_eq!(running.len(), wanted.len(), "at {} ms: {running:?}", world.now);
    assert_eq!(running.into_iter().collect::<BTreeSet<_>>(), wanted);
    let connectors: Vec<_> = live().flat_map(|worker| worker.running.connectors.clone()).collect();
    assert_eq!(connectors.len(), world.work().connectors.len(), "at {} ms: {connectors:?}", world.now);
    let sizes: Vec<_> = live().map(|worker| worker.running.tasks.len()).collect();
    assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
}

fn restarted(world: &World, before: &BTreeMap<TaskId, u32>) -> BTreeSet<TaskId> {
    let starts = world.starts.iter();
    starts.filter(|(task, starts)| before.get(task) != Some(starts)).map(|(task, _)| task.clone()).collect()
}

#[test]
fn a_killed_worker_s_tasks_move_within_its_session_and_nothing_else() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        let before = world.starts.clone();
        let had = world.workers[0].running.tasks.clone();
        world.kill(0);
        world.run(SESSION_MS + 2000, one_each);
        assert_settled(&world);
        assert_eq!(restarted(&world, &before), had, "seed {seed}");
    }
}

#[test]
fn a_worker_that_leaves_is_followed_at_once() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        world.leave(1);
        world.run(2000, one_each);
        assert_settled(&world);
    }
}

#[test]
fn a_newcomer_takes_the_fewest_tasks_while_the_others_run_on() {
    for seed in 0..20 {
        let mut world = settled(seed, 2, Duration::ZERO);
        let before = world.starts.clone();
        world.add_worker();
        world.run(SETTLE_MS, one_each);
        assert_settled(&world);
        assert_eq!(restarted(&world, &before), world.workers[2].running.tasks, "seed {seed}");
    }
}

#[test]
fn a_new_connector_moves_nothing() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        let before = world.starts.clone();
        world.set_work(&[("a", 4), ("b", 3), ("c", 5), ("d", 0), ("e", 3)]);
        world.run(4000, one_each);
        assert_settled(&world);
        assert!(restarted(&world, &before).iter().all(|task| task.connector == "e"), "seed {seed}");
    }
}

#[test]
fn a_worker_that_stood_still_gives_up_before_it_writes_again_and_comes_back() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        world.workers[0].stopped_until = world.now + SESSION_MS + 4000;
        world.run(SESSION_MS + 4000, one_each);
        world.run(SETTLE_MS, one_each);
        assert_settled(&world);
    }
}

#[test]
fn a_worker_that_is_cut_off_ends_its_tasks_before_others_are_given_them() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        world.workers[1].cut_until = world.now + 3 * SESSION_MS;
        world.run(3 * SESSION_MS, one_each);
        assert!(world.workers[1].running.is_empty(), "seed {seed}");
        world.run(SETTLE_MS, one_each);
        assert_settled(&world);
    }
}

#[test]
fn a_short_cut_moves_nothing() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::ZERO);
        let before = world.starts.clone();
        world.workers[1].cut_until = world.now + SESSION_MS / 3;
        world.run(SETTLE_MS, one_each);
        assert_settled(&world);
        assert_eq!(restarted(&world, &before), BTreeSet::new(), "seed {seed}");
    }
}

#[test]
fn with_a_delay_a_worker_that_returns_gets_its_tasks_back() {
    for seed in 0..20 {
        // Not the leader: a new one would know of no delay.
        let mut world = settled(seed, 3, Duration::from_secs(30));
        let leader = world.leader();
        let lost = (leader + 1) % 3;
        let had = world.workers[lost].running.clone();
        let before = world.starts.clone();
        world.kill(lost);
        world.run(SESSION_MS + 5000, one_each);
        assert_eq!(restarted(&world, &before), BTreeSet::new(), "seed {seed}: the tasks wait");
        let back = world.add_worker();
        world.run(3000, one_each);
        assert_settled(&world);
        assert_eq!(world.workers[back].running.tasks, had.tasks, "seed {seed}");
    }
}

#[test]
fn with_a_delay_the_tasks_of_a_worker_that_stays_away_move_after_it() {
    for seed in 0..20 {
        let mut world = settled(seed, 3, Duration::from_secs(30));
        let lost = (world.leader() + 1) % 3;
        world.kill(lost);
        world.run(25_000, one_each);
        let wanted = world.work().tasks().count();
        let running =
            |world: &World| world.workers.iter().map(|worker| worker.running.tasks.len()).sum::<usize>();
        assert!(running(&world) < wanted);
        world.run(SESSION_MS + 8000, one_each);
        assert_settled(&world);
    }
}

/// Everything at once: kills, stops, cuts, newcomers, changes of the work.
#[test]
fn whatever_happens_nothing_runs_twice_and_in_the_end_all_runs() {
    for seed in 0..24 {
        let mut world = World::new(seed, Duration::from_secs(seed % 3 * 5));
        for _ in 0..3 {
            world.add_worker();
        }
        for _ in 0..40 {
            let worker = world.random.below(world.workers.len() as u64) as usize;
            let span = world.random.below(2 * SESSION_MS);
            let live = world.workers.iter().filter(|worker| !worker.is_dead).count();
            match world.random.below(8) {
                0 if live > 1 => world.kill(worker),
                1 if live > 1 => world.leave(worker),
                2 => world.workers[worker].stopped_until = world.now + span,
                3 => world.workers[worker].cut_until = world.now + span,
                4 if live < 6 => drop(world.add_worker()),
                5 => {
                    let names = ["a", "b", "c", "d", "e"];
                    let work: Vec<_> =
                        names.iter().map(|name| (*name, world.random.below(5) as u32)).collect();
                    let from = world.random.below(5) as usize;
                    world.set_work(&work[from..]);
                }
                _ => {}
            }
            let pause = world.random.below(3000);
            world.run(pause, one_each);
        }
        world.run(2 * SESSION_MS + 3 * SETTLE_MS, one_each);
        assert_settled(&world);
        let generation = world.coordinator.generation;
        world.run(SETTLE_MS, one_each);
        assert_eq!(world.coordinator.generation, generation, "seed {seed}: a settled group stays as it is");
    }
}
