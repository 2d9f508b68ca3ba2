//! Bench of the output head: the greedy choice and a picture of the memory.

use crate::SimError;
use crate::bench::rig::{Rig, library};
use crate::bench::{Beat, Bug, Cover, pack};
use crate::mutate::{Mutation, own_bug};
use crate::rng::Rng;
use hw::blocks::head::HeadOut;
use std::collections::BTreeMap;
use std::ops::Range;

/// What the head does with one pass.
struct Pass {
    want: u64,
    line: u32,
    stride: u32,
    /// Logits of each slot that reached the head, with their rows, in order.
    logits: Vec<Vec<(u32, f32)>>,
}

/// A logit: often equal to others, sometimes a special one.
fn logit(rng: &mut Rng) -> f32 {
    match rng.below(16) {
        0 => -0.0,
        1 => 0.0,
        2 => f32::MAX,
        3 => f32::INFINITY,
        4 => f32::NEG_INFINITY,
        5 => f32::MIN_POSITIVE,
        6 => -f32::MIN_POSITIVE,
        7 => f32::NAN,
        8 => -f32::MAX,
        9..12 => rng.within(0, 6) as f32 - 3.0,
        _ => f32::from_bits((rng.bits() as u32 & 0x87ff_ffff) | 0x3800_0000),
    }
}

/// A logit that is not above the ceiling, or NaN.
fn below(rng: &mut Rng, ceiling: f32) -> f32 {
    match logit(rng) {
        x if x > ceiling => ceiling,
        x => x,
    }
}

/// The host's greedy choice: NaN and minus infinity never, infinity as the largest number, -0 as 0; the lower
/// row of equals.
pub fn greedy(logits: &[(u32, f32)]) -> (u32, f32) {
    let mut best = (0, f32::NEG_INFINITY);
    for &(row, logit) in logits {
        let candidate = logit.min(f32::MAX); // of NaN too
        if !logit.is_nan() && candidate > best.1 {
            best = (row, candidate + 0.0);
        }
    }
    best
}

/// Beats of a pass: tiles of words of groups, with rows cut off at the end.
fn send(head: &HeadOut, rig: &mut Rig, rng: &mut Rng, pass: &mut Pass, ceiling: f32, cover: &mut Cover) {
    let (l, v) = (head.lanes, head.vtokens);
    let groups = rng.within(1, head.groups().into()) as u32;
    let tiles = rng.within(1, 3);
    let mut base = l * rng.within(0, 5) as u32;
    for tile in 0..tiles {
        let words = rng.within(1, 12) as u32;
        let cols = (words * l).saturating_sub(rng.below(2 * u64::from(l)) as u32).max(1);
        for word in 0..words {
            for g in 0..groups {
                let mask = (0..l).fold(0, |mask, lane| mask | u32::from(word * l + lane < cols) << lane);
                let data: Vec<f32> = (0..l * v).map(|_| below(rng, ceiling)).collect();
                for (at, &x) in data.iter().enumerate() {
                    let (slot, lane) = (g * v + at as u32 / l, at as u32 % l);
                    if mask >> lane & 1 == 1 {
                        pass.logits[slot as usize].push((base + word * l + lane, x));
                    }
                }
                cover.count("cut_off", mask != (1 << l) - 1);
                let last = word + 1 == words && g + 1 == groups;
                let row = base + word * l;
                let beat = vec![
                    pack(32, data.iter().map(|x| x.to_bits().into())),
                    vec![g],
                    vec![row],
                    vec![mask],
                    (0..l).map(|_| rng.bits() as u32).collect(),
                    vec![last.into()],
                    vec![u32::from(tile + 1 == tiles)],
                    vec![0],
                    vec![0],
                    vec![rng.bits() as u32 & 255],
                ];
                rig.send("log", beat);
            }
        }
        base += words * l;
    }
}

/// Starts a pass: the slots that want logits, where these go.
fn begin(head: &HeadOut, rig: &mut Rig, rng: &mut Rng, want: u64) -> Result<Pass, SimError> {
    let (line, stride) = (rng.bits() as u32 >> 8, rng.within(1, 1 << 16) as u32);
    rig.set("want_i", &[want as u32])?;
    rig.set("logits_line_i", &[line])?;
    rig.set("logits_stride_i", &[stride])?;
    rig.set("start_i", &[1])?;
    rig.step()?;
    rig.set("start_i", &[0])?;
    rig.set("logits_line_i", &[!line])?; // read with the start; the stride is read until all lines are known
    Ok(Pass { want, line, stride, logits: vec![Vec::new(); head.tokens as usize] })
}

fn run(head: &HeadOut, rig: &mut Rig, rng: &mut Rng, cover: &mut Cover) -> Result<(), SimError> {
    let slots = head.tokens as usize;
    let want = match rng.below(3) {
        0 => 0,
        1 => (1 << slots) - 1,
        _ => rng.below(1 << slots),
    };
    let mut pass = begin(head, rig, rng, want)?;
    // lower ceilings let zeros of both signs, negative logits or nothing at all be the best
    let ceiling = rng.pick(&[f32::INFINITY, 3.0, -0.0, -0.0, -1.0, f32::NEG_INFINITY]);
    send(head, rig, rng, &mut pass, ceiling, cover);
    finish(rig, head, &pass, 0..slots, cover)
}

/// A group of rows in the list.
struct Group {
    number: u32,
    key: f32,
    rows: u32,
    scales: Vec<u32>,
}

/// Ranks groups, takes the list, picks.
fn shortlist(head: &HeadOut, rig: &mut Rig, rng: &mut Rng, cover: &mut Cover) -> Result<(), SimError> {
    let (q, l, v) = (head.rows, head.lanes, head.vtokens);
    // the last slot is listed, and others of its group or of earlier ones take part
    let listed = [0, rng.below(head.tokens.into()) as u32][rng.below(2) as usize];
    let (group, lane) = (listed / v, listed % v);
    let want = rng.below(2) << listed;
    rig.set("listed_i", &[1 << listed])?;
    let mut pass = begin(head, rig, rng, want)?;
    let ceiling = rng.pick(&[f32::INFINITY, 3.0, -0.0, -1.0]);
    let keep = rng.within(1, head.list.into()) as u32;
    let groups = keep + rng.below(60) as u32;
    let cut = rng.below(q.into()) as u32;
    let noise = |rng: &mut Rng, n: u32| (0..n).map(|_| rng.bits() as u32).collect::<Vec<_>>();
    // the beats of a group of rows: logits of the listed slot and any of others
    let beats =
        |rng: &mut Rng, number: u32, rows: u32, kind: [u32; 2], last: bool| -> (Vec<f32>, Vec<u32>, Vec<Beat>) {
            let logits: Vec<f32> = (0..q).map(|_| below(rng, ceiling)).collect();
            let scales = noise(rng, q);
            let part = |g: u32, s: u32| {
                let own: Vec<u32> = logits[(s * l) as usize..][..l as usize].iter().map(|x| x.to_bits()).collect();
                let mut data = noise(&mut rng.clone(), l * v);
                if g == group {
                    data[(lane * l) as usize..][..l as usize].copy_from_slice(&own);
                }
                let mask = (0..l).fold(0, |mask, lane| mask | u32::from(s * l + lane < rows) << lane);
                let end = u32::from(last && g == group && s + 1 == q / l);
                let place =
                    [vec![g], vec![number * q + s * l], vec![mask], scales[(s * l) as usize..][..l as usize].to_vec()];
                let flags = [end, end, kind[0], kind[1], keep].map(|x| vec![x]);
                [vec![data]].into_iter().chain([place.to_vec(), flags.to_vec()]).flatten().collect()
            };
            let parts = (0..=group).flat_map(|g| (0..q / l).map(move |s| (g, s)));
            let beats = parts.map(|(g, s)| part(g, s)).collect();
            (logits, scales, beats)
        };
    let mut list: Vec<Group> = Vec::new();
    for number in 0..groups {
        let last = number + 1 == groups;
        let rows = if last { q - cut } else { q };
        let (logits, scales, beats) = beats(rng, number, rows, [1, 0], last);
        beats.into_iter().for_each(|beat| rig.send("log", beat));
        let key = greedy(&logits.iter().take(rows as usize).map(|x| (0, *x)).collect::<Vec<_>>()).1;
        let group = Group { number, key, rows, scales };
        if (list.len() as u32) < keep {
            list.push(group);
            continue;
        }
        let least = (0..list.len()).rev().fold(0, |least, at| if list[at].key <= list[least].key { at } else { least });
        let least = (0..list.len()).find(|at| list[*at].key == list[least].key).unwrap_or(least);
        cover.count("replaced", key > list[least].key);
        cover.count("equal_to_least", key == list[least].key);
        if key > list[least].key {
            list[least] = group;
        }
    }
    let mut found = Vec::new();
    while found.len() < list.len() {
        rig.step()?;
        found.extend(rig.take("list").map(|beat| beat[0][0]));
    }
    rig.compare("list", 0, &found, &list.iter().map(|group| group.number).collect())?;
    for (at, group) in list.iter().enumerate() {
        let (logits, _, beats) = beats(rng, rng.clone().below(99) as u32, q, [0, 1], at + 1 == list.len());
        beats.into_iter().for_each(|beat| rig.send("log", beat));
        let rows = logits.iter().zip(group.number * q..).take(group.rows as usize);
        pass.logits[listed as usize].extend(rows.map(|(x, row)| (row, *x)));
    }
    pass.logits[listed as usize].sort_by_key(|(row, _)| *row);
    cover.count("listed_end", list.iter().any(|group| group.rows < q));
    finish(rig, head, &pass, listed as usize..listed as usize + 1, cover)?;
    let scales: Vec<Beat> = std::iter::from_fn(|| rig.take("pick")).collect();
    rig.compare("scales", 0, &scales, &list.iter().map(|group| vec![group.scales.clone()]).collect())
}

/// Waits for the end; compares the memory and the best rows of some slots.
fn finish(rig: &mut Rig, head: &HeadOut, pass: &Pass, slots: Range<usize>, cover: &mut Cover) -> Result<(), SimError> {
    let bytes = u64::from(head.port / 8);
    let mut memory: BTreeMap<u64, u8> = BTreeMap::new();
    let mut cmds: Vec<(u64, u32)> = Vec::new();
    let mut beats = Vec::new();
    let mut quiet = 0;
    while quiet < 3 {
        rig.step()?;
        if let Some(cmd) = rig.take("wr_cmd") {
            cmds.push((u64::from(cmd[0][0]) | u64::from(cmd[0][1]) << 32, cmd[1][0]));
        }
        beats.extend(rig.take("wr_data"));
        let idle = rig.get("idle_o")?[0] == 1 && rig.waiting("log") == 0;
        quiet = if idle { quiet + 1 } else { 0 };
    }
    let mut beats = beats.iter();
    for (index, &(addr, count)) in cmds.iter().enumerate() {
        rig.compare("alignment of wr_cmd", index, &(addr % bytes), &0)?;
        for at in 0..u64::from(count) {
            let Some(beat) = beats.next() else { return rig.compare("beats of wr_data", index, &0, &count) };
            for byte in 0..bytes {
                if beat[1][byte as usize / 32] >> (byte % 32) & 1 == 1 {
                    let value = (beat[0][byte as usize / 4] >> (8 * (byte % 4))) as u8;
                    let twice = memory.insert(addr + at * bytes + byte, value);
                    rig.compare("bytes written twice", index, &twice.is_some(), &false)?;
                }
            }
        }
    }
    rig.compare("wr_data beats without a command", 0, &beats.len(), &0)?;
    let mut expected = BTreeMap::new();
    for (slot, logits) in pass.logits.iter().enumerate().filter(|(slot, _)| pass.want >> slot & 1 == 1) {
        for (row, x) in logits {
            let lines = (u64::from(pass.line) + u64::from(pass.stride) * slot as u64) & 0xffff_ffff;
            let addr = 64 * lines + 4 * u64::from(*row);
            expected.extend(x.to_bits().to_le_bytes().iter().enumerate().map(|(at, byte)| (addr + at as u64, *byte)));
        }
    }
    cover.count("written", !expected.is_empty());
    rig.compare("memory", 0, &memory, &expected)?;
    let (tokens, logits) = (rig.get("best_token_o")?, rig.get("best_logit_o")?);
    for slot in slots {
        let (token, logit) = greedy(&pass.logits[slot]);
        let all = &pass.logits[slot];
        cover.count("tie", all.iter().filter(|(_, x)| *x == logit).count() > 1);
        cover.count("negative", !all.is_empty() && logit < 0.0 && logit.is_finite());
        let zero = |sign: bool| all.iter().any(|(_, x)| *x == 0.0 && x.is_sign_negative() == sign);
        cover.count("both_zeros", logit == 0.0 && zero(true) && zero(false));
        cover.count("infinite", all.iter().any(|(_, x)| *x == f32::INFINITY));
        cover.count("nothing", logit == f32::NEG_INFINITY);
        rig.compare("best row and logit of slot", slot, &(tokens[slot], logits[slot]), &(token, logit.to_bits()))?;
    }
    Ok(())
}

/// Runs the head plain, with gaps, with stalls and with both.
pub fn check(head: &HeadOut, rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    let (library, top) = library(|design| head.build(design), bug)?;
    let mut cover = Cover::default();
    for (name, gaps, stalls) in
        [("plain", false, false), ("gaps", true, false), ("stalls", false, true), ("gaps and stalls", true, true)]
    {
        let mut rig = Rig::new(&library, &top, name, rng.bits())?;
        (rig.gaps, rig.stalls) = (gaps, stalls);
        for _ in 0..6 {
            run(head, &mut rig, rng, &mut cover)?;
            shortlist(head, &mut rig, rng, &mut cover)?;
        }
        // a reset in the middle leaves nothing behind
        let mut lost = Pass { want: 0, line: 0, stride: 0, logits: vec![Vec::new(); head.tokens as usize] };
        rig.set("want_i", &[u32::MAX >> (32 - head.tokens)])?;
        send(head, &mut rig, rng, &mut lost, f32::INFINITY, &mut cover);
        for _ in 0..rng.within(1, 12) {
            rig.step()?;
        }
        rig.reset()?;
        shortlist(head, &mut rig, rng, &mut cover)?;
        run(head, &mut rig, rng, &mut cover)?;
    }
    Ok(cover)
}

fn planted(rng: &mut Rng, bug: Option<Bug>) -> Result<Cover, SimError> {
    check(&HeadOut { rows: 4, list: 6, tokens: 8, lanes: 4, vtokens: 2, port: 128 }, rng, bug)
}

/// Bugs that the bench must catch.
pub const MUTATIONS: &[Mutation] = &[
    own_bug("head: a later beat wins a tie", planted, "(s2v0n0_key_q > best0_key_q)", "(s2v0n0_key_q >= best0_key_q)"),
    own_bug("head: a later lane wins a tie", planted, "key0_1_q > key0_0_q", "key0_1_q >= key0_0_q"),
    own_bug("head: -0 is less than 0", planted, "(data_q[31] & (|data_q[30:0]))", "data_q[31]"),
    own_bug("head: a group equal to the smallest enters", planted, "(cand_key_q > least_q)", "(cand_key_q >= least_q)"),
    own_bug("head: the last of equal groups goes", planted, "(scan_key < least_q)", "(scan_key <= least_q)"),
    own_bug(
        "head: the list is for slot 0",
        planted,
        "listed_key = ",
        "listed_key = s2v0n0_key_q; wire [31:0] other_key = ",
    ),
    own_bug("head: every slot's picks move the list", planted, "pick_last_run & pick_last", "pick_last_run"),
    own_bug("head: a later pick wins a tie", planted, "(row2_q < best0_row_q)", "1'b0"),
    own_bug("head: a candidate does not wait for the search", planted, "go = ~(there_q & scan_q)", "go = 1'b1"),
    own_bug("head: rows beyond the tile count", planted, "{32{mask_q[3]}}", "{32{1'b1}}"),
];
