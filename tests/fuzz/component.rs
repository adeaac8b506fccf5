//! Whatever a component hands back: wrong counts, negative lengths, names that are no text, origins, positions, rejections. It is refused,
//! or everything that the worker does with it holds.

#![no_main]

use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;
use millrace_connect_runtime::component::fuzz::{Answer, judge};

fuzz_target!(|data: &[u8]| {
    if let Ok(answer) = answer(&mut Unstructured::new(data)) {
        let _ = judge(answer);
    }
});

/// Most are nearly right, so that the rarer rules are reached: columns of the right length, lengths that are small, bytes that are as
/// many as the lengths ask for.
fn answer(input: &mut Unstructured<'_>) -> Result<Answer> {
    let records = input.int_in_range(0..=12usize)?;
    let mut answer = Answer {
        count: match input.int_in_range(0..=15u8)? {
            0 => input.int_in_range(0..=1_000)?,
            // Beyond what is taken; a million records that are would only cost time.
            1 => input.arbitrary::<u32>()? | 1 << 21,
            _ => records as u32,
        },
        given: if input.ratio(3u8, 4u8)? { records as u8 } else { input.arbitrary()? },
        accepted: if input.ratio(7u8, 8u8)? { input.int_in_range(0..=13)? } else { input.arbitrary()? },
        ..Answer::default()
    };
    for _ in 0..input.int_in_range(0..=3usize)? {
        answer.topics.push(if input.ratio(7u8, 8u8)? { "topic".to_owned() } else { input.arbitrary()? });
    }
    answer.topic_index = column(input, records, |input| input.int_in_range(0..=3))?;
    answer.partitions = column(input, records, |input| input.int_in_range(-1..=5))?;
    answer.offsets = column(input, records, |input| input.int_in_range(0..=5))?;
    answer.timestamps = column(input, records, |input| input.int_in_range(-1..=5))?;
    answer.key_lens = column(input, records, length)?;
    answer.value_lens = column(input, records, length)?;
    answer.header_counts = column(input, records, |input| input.int_in_range(0..=2))?;
    let headers: u64 = answer.header_counts.iter().map(|count| u64::from(*count)).sum();
    answer.header_lens = column(input, headers.min(64) as usize * 2, length)?;
    answer.data = bytes(input, &[&answer.key_lens, &answer.value_lens])?;
    answer.header_data = bytes(input, &[&answer.header_lens])?;
    answer.origin = column(input, records, |input| input.int_in_range(0..=12))?;
    if input.ratio(3u8, 4u8)? {
        answer.origin.sort_unstable();
    }
    for _ in 0..input.int_in_range(0..=4usize)? {
        answer.rejected.push((input.int_in_range(0..=13)?, input.arbitrary()?, input.arbitrary()?));
    }
    if input.ratio(3u8, 4u8)? {
        answer.rejected.sort();
        answer.rejected.dedup_by_key(|(index, ..)| *index);
    }
    for _ in 0..input.int_in_range(0..=2usize)? {
        answer.checkpoints.push((input.arbitrary()?, input.arbitrary()?));
    }
    Ok(answer)
}

fn length(input: &mut Unstructured<'_>) -> Result<i32> {
    if input.ratio(31u8, 32u8)? { input.int_in_range(-1..=4) } else { input.arbitrary() }
}

/// Empty, of one entry per record, or of any length.
fn column<T>(
    input: &mut Unstructured<'_>,
    records: usize,
    value: fn(&mut Unstructured<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let length = match input.int_in_range(0..=15u8)? {
        0..=5 => 0,
        6..=14 => records,
        _ => input.int_in_range(0..=16usize)?,
    };
    (0..length).map(|_| value(input)).collect()
}

/// As many as the lengths ask for, or any.
fn bytes(input: &mut Unstructured<'_>, lens: &[&Vec<i32>]) -> Result<Vec<u8>> {
    let wanted: i64 =
        lens.iter().flat_map(|lens| lens.iter()).map(|length| i64::from((*length).max(0))).sum();
    let length = if input.ratio(15u8, 16u8)? { wanted.clamp(0, 512) } else { input.int_in_range(0..=64)? };
    (0..length).map(|_| input.arbitrary()).collect()
}
