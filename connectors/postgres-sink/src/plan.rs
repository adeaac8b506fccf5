//! What is to be done, put together into as few statements as the order allows.
//!
//! Rows with the same columns of one table go into one statement, a [`Group`]. Of the rows with one key only the newest counts, where a
//! statement can't take both. A key that has to go into another group than before begins a new wave: waves are done one
//! after the other, and within one no two groups touch the same row.

use std::collections::BTreeMap;

/// Something to do with one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// Which record it is from, in order.
    pub record: usize,
    /// Index of its [`Shape`].
    pub shape: usize,
    /// Text of each column; none: null.
    pub values: Vec<Option<String>>,
}

/// What rows of one statement have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Index of the table.
    pub table: usize,
    /// Whether rows are deleted.
    pub delete: bool,
    /// Whether an upsert has to be an update, because the row can't be made of these columns.
    pub update: bool,
    /// Columns by index.
    pub columns: Vec<usize>,
    /// Which of `columns` are the key.
    pub key: Vec<usize>,
}

/// Rows of one statement, by the index of their op.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Index of the shape.
    pub shape: usize,
    /// Ops, in order.
    pub ops: Vec<usize>,
}

/// Puts ops together; `newest_only`: of a key in a group only the newest row is kept. At most `rows_max` in each group.
pub fn waves(ops: &[Op], shapes: &[Shape], newest_only: bool, rows_max: usize) -> Vec<Vec<Group>> {
    let mut waves = vec![Vec::<Group>::new()];
    // Where each key is in the newest wave: its group, and its place in there.
    let mut places = BTreeMap::<(usize, Vec<&str>), (usize, usize)>::new();
    for (at, op) in ops.iter().enumerate() {
        let shape = &shapes[op.shape];
        let key: Option<Vec<&str>> = shape.key.iter().map(|column| op.values[*column].as_deref()).collect();
        let key = key.filter(|key| !key.is_empty()).map(|key| (shape.table, key));
        let wave = waves.last_mut().expect("there is always one");
        let group = wave.iter().rposition(|group| group.shape == op.shape && group.ops.len() < rows_max);
        match key.as_ref().and_then(|key| places.get(key).copied()) {
            Some((group, place)) if newest_only && wave[group].shape == op.shape => {
                wave[group].ops[place] = usize::MAX;
                wave[group].ops.push(at);
                let place = wave[group].ops.len() - 1;
                places.extend(key.map(|key| (key, (group, place))));
                continue;
            }
            Some((before, _)) if Some(before) != group => {
                waves.push(vec![Group { shape: op.shape, ops: vec![at] }]);
                places.clear();
                places.extend(key.map(|key| (key, (0, 0))));
                continue;
            }
            _ => {}
        }
        let group = group.unwrap_or_else(|| {
            wave.push(Group { shape: op.shape, ops: Vec::new() });
            wave.len() - 1
        });
        wave[group].ops.push(at);
        let place = wave[group].ops.len() - 1;
        places.extend(key.map(|key| (key, (group, place))));
    }
    for group in waves.iter_mut().flatten() {
        group.ops.retain(|op| *op != usize::MAX);
    }
    waves.retain(|wave| !wave.is_empty());
    waves
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows written as `shape key`, the waves as lists of rows.
    fn put(rows: &[(usize, &str)], newest_only: bool, rows_max: usize) -> Vec<Vec<Vec<usize>>> {
        let shape = |delete, columns: &[usize]| Shape {
            table: 0,
            delete,
            update: false,
            columns: columns.to_vec(),
            key: vec![0],
        };
        let shapes = [shape(false, &[0, 1]), shape(true, &[0]), Shape { key: vec![], ..shape(false, &[1]) }];
        let op = |(record, (shape, key)): (usize, &(usize, &str))| {
            let mut values = vec![Some((*key).to_owned()), Some("x".to_owned())];
            values.truncate(shapes[*shape].columns.len());
            Op { record, shape: *shape, values }
        };
        let ops: Vec<Op> = rows.iter().enumerate().map(op).collect();
        let waves = waves(&ops, &shapes, newest_only, rows_max);
        waves.into_iter().map(|wave| wave.into_iter().map(|group| group.ops).collect()).collect()
    }

    #[test]
    fn the_newest_of_a_key_counts() {
        assert_eq!(put(&[(0, "a"), (0, "b"), (0, "a")], true, 10), [[[1, 2]]]);
        assert_eq!(put(&[(0, "a"), (0, "b"), (0, "a")], false, 10), [[[0, 1, 2]]]);
        assert_eq!(put(&[(2, "a"), (2, "a")], true, 10), [[[0, 1]]], "no key");
        assert_eq!(put(&[], true, 10), [[[0_usize; 0]; 0]; 0]);
    }

    #[test]
    fn order_of_a_key_is_kept_over_groups() {
        // Written, deleted, written again; another key needs no waves.
        let rows = [(0, "a"), (1, "a"), (0, "b"), (0, "a"), (1, "c")];
        assert_eq!(put(&rows, true, 10), [vec![vec![0]], vec![vec![1], vec![2]], vec![vec![3], vec![4]]]);
    }

    #[test]
    fn groups_have_a_most() {
        assert_eq!(put(&[(0, "a"), (0, "b"), (0, "c")], true, 2), [[vec![0, 1], vec![2]]]);
        // The second group has another row with the key of the first: one after the other.
        let waves = put(&[(0, "a"), (0, "b"), (0, "a")], false, 2);
        assert_eq!(waves, [[vec![0, 1]], [vec![2]]]);
    }
}
