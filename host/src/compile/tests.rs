//! Programs: hazards, determinism, sizes, errors.

use super::*;
use crate::device::tests::{every_kind, machines};
use spec::model::random;
use spec::program::{Descriptor, epilogue, listing, quant, stream, wait};
use std::collections::HashMap;
use std::ops::Range;

fn images() -> Vec<(String, DeviceImage)> {
    let mut images = Vec::new();
    for (index, (config, spec)) in every_kind().into_iter().enumerate() {
        for (machine, shape) in machines().iter().enumerate() {
            let options = Options { shortlist: Some(0), ..Options::default() };
            if let Ok(image) = compile(&random::model(&config, spec), shape, options) {
                images.push((format!("model {index} on machine {machine}"), image));
            }
        }
    }
    images
}

fn programs(image: &DeviceImage) -> impl Iterator<Item = &Program> {
    let banks = [&image.narrow].into_iter().chain(&image.wide);
    banks.flat_map(|all| [&all.body, &all.full].into_iter().chain(&all.shortlist))
}

/// Places that units share.
#[derive(Clone, Debug, PartialEq)]
enum Place {
    Vector(Range<usize>),
    /// Segments of the activation buffer.
    Codes(Range<usize>),
    /// Of a bank.
    Scales(u32),
    /// Of a bank, words of the query memory.
    Queries(u32, Range<usize>),
    Rope(u32),
    /// Keys (or values) of a head of a layer, by their offset, and the bank whose positions they are; scales are
    /// bytes of their own.
    Cache(bool, usize, u32),
}

impl Place {
    fn meets(&self, other: &Place) -> bool {
        let overlap = |a: &Range<usize>, b: &Range<usize>| a.start < b.end && b.start < a.end;
        match (self, other) {
            (Place::Vector(a), Place::Vector(b)) | (Place::Codes(a), Place::Codes(b)) => overlap(a, b),
            (Place::Queries(x, a), Place::Queries(y, b)) => x == y && overlap(a, b),
            _ => self == other,
        }
    }
}

/// A unit at work for a descriptor.
struct Work {
    unit: u32,
    reads: Vec<Place>,
    writes: Vec<Place>,
}

/// What the units do for a descriptor.
fn works(d: &Descriptor, image: &DeviceImage) -> Vec<Work> {
    let get = |name: &str| d.get(name) as usize;
    let vector = |from: usize, words: usize| Place::Vector(from..from + words);
    let bank = || d.get("bank");
    let cache = |values: bool, first: usize, heads: usize| {
        (0..heads).map(move |head| Place::Cache(values, first + head * get("kv_stride"), bank()))
    };
    match d.op() {
        Some(Op::Gather) => {
            vec![Work {
                unit: wait::GATHER,
                reads: vec![],
                writes: vec![vector(get("dst"), get("words")), Place::Rope(bank())],
            }]
        }
        Some(Op::Quant) => {
            let source = vector(get("src"), get("words") * get("vectors"));
            let (reads, none) = (vec![source], Vec::new());
            match d.get("mode") {
                quant::ACT => {
                    // groups of columns, each cut into segments
                    let (cols, group) = (get("cols"), get("group_cols"));
                    let of_group = |first: usize| group.min(cols - first).div_ceil(get("seg_cols"));
                    let segments: usize = (0..cols).step_by(group).map(of_group).sum();
                    let codes = Place::Codes(get("act")..get("act") + segments);
                    vec![Work { unit: wait::QUANT, reads, writes: vec![codes, Place::Scales(bank())] }]
                }
                quant::QUERY => {
                    let words = get("dst")..get("dst") + get("words") * get("vectors");
                    vec![Work { unit: wait::QUANT, reads, writes: vec![Place::Queries(bank(), words)] }]
                }
                quant::NORM => {
                    vec![Work { unit: wait::QUANT, reads, writes: vec![vector(get("dst"), get("words"))] }]
                }
                _ => vec![
                    Work { unit: wait::QUANT, reads, writes: none },
                    Work {
                        unit: wait::KV,
                        reads: vec![],
                        writes: cache(d.get("mode") == quant::VALUE, get("kv_off"), get("vectors")).collect(),
                    },
                ],
            }
        }
        Some(Op::Linear) => {
            let words = get("words") * image.shape.runs();
            let out = match d.get("mode") {
                epilogue::SILU | epilogue::RELU2 => words / 2,
                _ => words,
            };
            let result = vector(get("dst"), out);
            let mut reads = vec![Place::Scales(bank()), Place::Rope(bank())];
            if d.get("accumulate") == 1 {
                reads.push(vector(get("acc"), words));
            }
            if d.get("mode") == epilogue::RESIDUAL {
                reads.push(result.clone());
            }
            let writes = if d.get("mode") >= epilogue::LOGITS { vec![] } else { vec![result] };
            let codes = Place::Codes(get("act")..get("act") + get("segs"));
            vec![
                Work { unit: wait::ENGINE, reads: vec![codes], writes: vec![] },
                Work { unit: wait::EPILOGUE, reads, writes },
            ]
        }
        Some(Op::Attend) => {
            let heads = get("kv_heads") * get("group");
            let writes = vec![vector(get("dst"), heads * get("v_words"))];
            let queries = Place::Queries(bank(), get("q_first")..get("q_first") + heads * get("q_words"));
            // positions of its own bank and of those before it
            let seen = |place| match place {
                Place::Cache(values, head, bank) => (0..=bank).map(|of| Place::Cache(values, head, of)).collect(),
                other => vec![other],
            };
            let keys = cache(false, get("kv_off"), get("kv_heads"));
            let values = cache(true, get("kv_off") + get("v_off"), get("kv_heads"));
            let reads = keys.chain(values).flat_map(seen).chain([queries]).collect();
            vec![Work { unit: wait::ATTEND, reads, writes }]
        }
        _ => vec![],
    }
}

/// Two descriptors that may touch the same place at the same time in the wrong order, whatever the
/// units' speeds: the later one did not wait for the earlier one, and it is not so that one unit begins
/// both in order and the earlier one only reads.
fn conflict(program: &[Descriptor], image: &DeviceImage) -> Option<(usize, usize)> {
    let mut open: Vec<(usize, Work)> = Vec::new();
    for (index, d) in program.iter().enumerate() {
        for unit in (0..6).map(|bit| 1 << bit).filter(|unit| d.wait() & unit != 0) {
            // all commands of the unit but the latest ones are done
            let mut of_unit: Vec<usize> = open.iter().filter(|(_, w)| w.unit == unit).map(|(at, _)| *at).collect();
            of_unit.truncate(of_unit.len().saturating_sub(d.lag(unit) as usize));
            let last = of_unit.last().copied();
            open.retain(|(at, work)| work.unit != unit || !of_unit.contains(at));
            // and with a tile's epilogue its part in the engine
            let engine = |at: usize, work: &Work| {
                unit == wait::EPILOGUE && work.unit == wait::ENGINE && last.is_some_and(|last| at <= last)
            };
            open.retain(|(at, work)| !engine(*at, work));
        }
        for new in works(d, image) {
            let all = [new.reads.as_slice(), &new.writes].concat();
            for (old_index, old) in open.iter().filter(|(at, _)| *at != index) {
                let after_write = old.writes.iter().any(|w| all.iter().any(|p| p.meets(w)));
                let after_read = old.reads.iter().any(|r| new.writes.iter().any(|p| p.meets(r)));
                if after_write || after_read && old.unit != new.unit {
                    return Some((*old_index, index));
                }
            }
            open.push((index, new));
        }
    }
    None
}

#[test]
fn hazards() {
    for (name, image) in images() {
        for program in programs(&image) {
            if let Some((a, b)) = conflict(&program.descriptors, &image) {
                panic!("{name}: {a} and {b}\n{}", listing(&program.descriptors[..=b]));
            }
        }
    }
}

/// The check finds waits that are missing.
#[test]
fn missing_waits_are_found() {
    let (_, image) = images().swap_remove(0);
    for op in [Op::Quant, Op::Linear, Op::Attend] {
        let mut program = image.narrow.full.descriptors.clone();
        for d in program.iter_mut().filter(|d| d.op() == Some(op)) {
            d.words[0] &= !0xff00;
            d.words[wait::LAG_WORD] = 0;
        }
        assert!(conflict(&program, &image).is_some(), "{op:?}");
    }
}

/// Linear commands use exactly the words that streams deliver, in all programs.
#[test]
fn streams_are_used_up() {
    for (name, image) in images() {
        for program in programs(&image) {
            let mut words: HashMap<u32, i64> = HashMap::new();
            for d in &program.descriptors {
                let mut add = |id: u32, n: i64| *words.entry(id).or_default() += n;
                let get = |field: &str| i64::from(d.get(field));
                match d.op() {
                    Some(Op::Stream) => {
                        assert!(d.get("packets") > 0 && d.get("words") > 0, "{name}: {d}");
                        add(d.get("stream"), get("words"));
                    }
                    Some(Op::Quant) if d.get("norm") == 1 => add(stream::NORM, -get("words")),
                    Some(Op::Linear) => {
                        assert_eq!(get("total"), get("words") * get("segs") * get("planes"), "{name}: {d}");
                        add(stream::WEIGHT, if get("hold") == 1 { 0 } else { -get("total") });
                        // scales of a pick come from the list
                        let scales = get("row_scale") * i64::from(d.get("mode") != epilogue::PICK);
                        add(stream::ROW, -get("words") * (scales + get("bias")));
                        add(stream::MULT, -get("words") * get("segs") * get("grouped"));
                    }
                    _ => {}
                }
            }
            assert!(words.values().all(|&left| left == 0), "{name}: {words:?}");
        }
    }
}

/// Whatever a weight stream reads is known to hold weights, so that a driver finds it when a code is illegal.
#[test]
fn weight_streams_read_sections_of_weights() {
    for (name, image) in images() {
        let all = programs(&image).flat_map(|program| &program.descriptors);
        let mut some = false;
        for d in all.filter(|d| d.op() == Some(Op::Stream) && d.get("stream") == stream::WEIGHT) {
            let (addr, stride) = (u64::from(d.get("addr")), u64::from(d.get("stride")));
            for line in (0..image.shape.ports as u64).map(|port| addr + port * stride) {
                let found = image.sections.iter().find(|section| section.line == line);
                assert!(found.is_some_and(Section::holds_weights), "{name}: line {line:#x}");
                some = true;
            }
        }
        assert!(some, "{name}");
    }
}

#[test]
fn sections_are_packets_and_do_not_overlap_and_never_change() {
    let (config, spec) = every_kind().remove(4);
    let weights = random::model(&config, spec);
    for shape in machines() {
        let options = Options { shortlist: Some(2), ..Options::default() };
        let image = compile(&weights, &shape, options).unwrap();
        assert_eq!(image, compile(&weights, &shape, options).unwrap());
        for pair in image.sections.windows(2) {
            let end = pair[0].line * 64 + pair[0].bytes.len() as u64;
            assert!(end <= pair[1].line * 64 && pair[1].line.is_multiple_of(64), "{}", image.report());
        }
        let last = image.sections.last().unwrap();
        assert!(last.line * 64 + last.bytes.len() as u64 <= image.logits_line * 64);
        assert_eq!(image.sequences(image.memory_bytes(3)), 3);
        assert_eq!(image.sequences(image.memory_bytes(3) - 1), 2);
        assert_eq!(image.narrow.body.descriptors.last().unwrap().op(), Some(Op::End));
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let (config, spec) = every_kind().remove(0);
    let weights = random::model(&config, spec);
    let [tiny, ..] = machines();
    let error = |shape: DeviceShape, options| compile(&weights, &shape, options).unwrap_err().to_string();
    let none = Options::default();
    for (shape, options, want) in [
        (DeviceShape { vm_words: 40, ..tiny.clone() }, none, "vector memory: 120 column words (24 residual"),
        (DeviceShape { max_cols: 60, ..tiny.clone() }, none, "heads x head_dim: 64, this machine takes at most 60"),
        (DeviceShape { max_head_dim: 8, ..tiny.clone() }, none, "columns of a head"),
        (DeviceShape { query_words: 8, ..tiny.clone() }, none, "words of queries: 32"),
        (DeviceShape { tile_rows: 8, ..tiny.clone() }, none, "rows of a rotated head: 16"),
        (DeviceShape { rows: 32, tile_rows: 64, ..tiny.clone() }, none, "head_dim: 16, expected a multiple of 32"),
        (DeviceShape { segments: 3, ..tiny.clone() }, none, "segments of a layer: 4"),
        (DeviceShape { ports: 3, ..tiny.clone() }, none, "machine shape: ports = 3"),
        (tiny.clone(), Options { context: Some(41), ..none }, "context: 41, this machine takes at most 40"),
        (tiny.clone(), Options { context: Some(0), ..none }, "context: 0"),
        (
            tiny.clone(),
            Options { shortlist: Some(9), ..none },
            "groups of a shortlist: 9, this machine takes at most 8; list fewer groups",
        ),
        (
            DeviceShape { buffer_words: 19, ..tiny.clone() },
            Options { shortlist: Some(0), ..none },
            "words of a group of the head's rows: 20, this machine takes at most 19; use --head exact",
        ),
    ] {
        let found = error(shape, options);
        assert!(found.starts_with(want), "{found}");
    }
}

/// Machines of two banks run prompts on both, and the second bank's part of the program is that of the first up to the keys
/// and values of the last layer.
#[test]
fn banks_share_weights() {
    let (config, spec) = every_kind().remove(1);
    let [tiny, odd, _] = machines();
    let weights = random::model(&config, spec);
    assert_eq!(compile(&weights, &odd, Options::default()).unwrap().wide, None);
    let image = compile(&weights, &tiny, Options::default()).unwrap();
    let wide = image.wide.as_ref().expect("two banks fit");
    let count = |op: Op, bank: u32| {
        wide.body.descriptors.iter().filter(|d| d.op() == Some(op) && d.get("bank") == bank).count()
    };
    for op in [Op::Gather, Op::Quant, Op::Linear, Op::Attend] {
        assert_eq!(count(op, 0), count(op, 1), "{op:?}");
    }
    let words = |program: &Program| {
        let weights = |d: &&Descriptor| d.op() == Some(Op::Stream) && d.get("stream") == stream::WEIGHT;
        program.descriptors.iter().filter(weights).map(|d| (d.get("addr"), d.get("words"))).collect::<Vec<_>>()
    };
    assert_eq!((words(&wide.body), words(&wide.full)), (words(&image.narrow.body), words(&image.narrow.full)));
    let last = config.layers as u16 - 1;
    let of_last = |program: &Program, op: Op, bank: u32| {
        let of = |d: &&Descriptor| d.op() == Some(op) && d.label() == last && d.get("bank") == bank;
        program.descriptors.iter().filter(of).count()
    };
    for op in [Op::Quant, Op::Linear, Op::Attend] {
        let [body, full] = [&wide.body, &wide.full].map(|program| [0, 1].map(|bank| of_last(program, op, bank)));
        // keys and values of both banks, the rest of the last one alone
        assert_eq!([body[0], body[0]], [body[1], full[0]], "{op:?}");
        assert!(full[1] > full[0], "{op:?}");
        assert!(of_last(&image.narrow.full, op, 0) > of_last(&image.narrow.body, op, 0), "{op:?}");
    }
    assert_eq!(of_last(&wide.body, Op::Attend, 0) + of_last(&image.narrow.body, Op::Attend, 0), 0);
    // the model with more heads than a tile's is one
    let (config, spec) = every_kind().remove(13);
    let many = compile(&random::model(&config, spec), &tiny, Options::default()).unwrap();
    let full = &many.wide.as_ref().expect("two banks fit").full;
    let attends = full.descriptors.iter().filter(|d| d.op() == Some(Op::Attend)).count();
    assert!(attends > 2 * config.layers, "{attends}");
    let narrow = DeviceShape { vm_words: 2 * image.vectors.words - 1, ..tiny };
    assert_eq!(compile(&weights, &narrow, Options::default()).unwrap().wide, None);
}
