use super::*;
use crate::program::{self, wait, write_packets};

pub(super) fn shape() -> DeviceShape {
    DeviceShape {
        tables: 4,
        rows: 2,
        tokens: 2,
        banks: 1,
        vtokens: 1,
        ports: 1,
        port_bits: 32,
        queries: 2,
        units: 1,
        max_cols: 64,
        segments: 16,
        tile_rows: 16,
        vm_words: 32,
        query_words: 8,
        max_context: 16,
        max_head_dim: 16,
        buffer_words: 64,
        shortlist: 4,
    }
}

fn descriptor(op: Op, fields: &[(&str, u64)]) -> Descriptor {
    let mut d = Descriptor::new(op, wait::ALL, 5);
    for &(name, value) in fields {
        d.set(name, value).unwrap();
    }
    d
}

/// A memory with a program at line 0 and packets of `bytes` at line 64.
fn memory(program: &[Descriptor], bytes: &[u8]) -> Vec<u8> {
    let program: Vec<u8> = program.iter().flat_map(|d| d.to_bytes()).collect();
    let mut memory = Vec::new();
    write_packets(&program, 4, 0, &mut memory);
    write_packets(bytes, 4, 0, &mut memory);
    memory
}

/// Runs a program of at most 63 descriptors.
fn run(memory: Vec<u8>) -> Result<PassResult, Fault> {
    let slot = Slot { valid: true, run: 1, ..Slot::default() };
    let pass = Pass { program_line: 0, program_words: 63, slots: vec![slot], want_logits: 1, want_best: 0 };
    Device::new(shape(), memory).unwrap().run(&pass, &mut |_| ())
}

#[test]
fn a_norm_of_zeros_and_a_row_of_logits() {
    let weights: Vec<u8> = [121; 8].to_vec();
    let stream = |addr: u64, id: u32, words: u64| {
        descriptor(Op::Stream, &[("stream", u64::from(id)), ("addr", addr), ("packets", 1), ("words", words)])
    };
    let program = [
        stream(64, program::stream::WEIGHT, 1),
        descriptor(Op::Quant, &[("words", 6), ("vectors", 1), ("cols", 12), ("seg_cols", 12), ("group_cols", 12)]),
        descriptor(
            Op::Linear,
            &[
                ("words", 1),
                ("segs", 1),
                ("planes", 1),
                ("total", 1),
                ("mode", u64::from(program::epilogue::LOGITS)),
                ("cols", 2),
            ],
        ),
        descriptor(Op::End, &[]),
    ];
    let result = run(memory(&program, &weights)).unwrap();
    assert_eq!(result.best, [Some((0, 0.0)), None]);
    assert_eq!(result.logits[0], [0.0, 0.0]);
    let mut damaged = memory(&program, &weights);
    damaged[4096 + 9] ^= 1;
    let fault = run(damaged).unwrap_err();
    assert!(matches!(fault.kind, FaultKind::Checksum { addr: 4096, .. }), "{fault}");
    assert_eq!((fault.index, fault.op, fault.label), (2, Some(Op::Linear), 5));
    let fault = run(memory(&program, &[250; 5])).unwrap_err();
    assert_eq!(fault.to_string(), "descriptor 2 (linear) of layer 5: byte 250 of port 0 is no code of five trits");
}

#[test]
fn addresses_operations_and_sizes_are_checked() {
    let one = |d: Descriptor| run(memory(&[d, descriptor(Op::End, &[])], &[])).unwrap_err().kind;
    let gather = one(descriptor(Op::Gather, &[("embed", 64), ("embed_beats", 2), ("words", 2)]));
    assert!(matches!(gather, FaultKind::Address { addr: 4096, .. }));
    let quant = one(descriptor(Op::Quant, &[("src", 30), ("words", 6), ("vectors", 1)]));
    assert_eq!(quant, FaultKind::Range { what: "column word", at: 35, limit: 32 });
    let linear = one(descriptor(Op::Linear, &[("words", 9), ("planes", 1)]));
    assert_eq!(linear, FaultKind::Range { what: "word of a tile", at: 8, limit: 8 });
    let mut unknown = descriptor(Op::End, &[]);
    unknown.words[0] = 77;
    assert_eq!(one(unknown), FaultKind::Operation(77));
    let norm = one(descriptor(Op::Quant, &[("norm", 1), ("words", 1), ("vectors", 1)]));
    assert_eq!(norm, FaultKind::Stream { stream: "norm", problem: "no word left in its run" });
    let outside = Pass { program_line: 1 << 20, program_words: 1, slots: Vec::new(), want_logits: 0, want_best: 0 };
    assert!(Device::new(shape(), Vec::new()).unwrap().run(&outside, &mut |_| ()).is_err());
}

/// A tile may use some of the segments that a vector has, from any on; none that it has not, and none of another format.
#[test]
fn a_tile_uses_segments_that_were_made() {
    let three =
        descriptor(Op::Quant, &[("words", 18), ("vectors", 1), ("cols", 36), ("seg_cols", 12), ("group_cols", 36)]);
    let run_with = |act: u64, segs: u64, sherry: u64| {
        let stream = [("stream", 0), ("addr", 64), ("packets", 1), ("words", segs), ("sherry", sherry)];
        let mode = u64::from(program::epilogue::LOGITS);
        let linear = [("act", act), ("words", 1), ("segs", segs), ("planes", 1), ("total", segs), ("mode", mode)];
        let linear = [&linear[..], &[("cols", 2), ("sherry", sherry)]].concat();
        let program =
            [descriptor(Op::Stream, &stream), three, descriptor(Op::Linear, &linear), descriptor(Op::End, &[])];
        run(memory(&program, &[121; 40])).map_err(|fault| fault.kind)
    };
    for (act, segs) in [(0, 3), (0, 1), (1, 2), (2, 1)] {
        assert!(run_with(act, segs, 0).is_ok(), "{segs} from {act}");
    }
    let wrong = FaultKind::Program("planes, segments or format of activations and weights");
    for (act, segs, sherry) in [(0, 4, 0), (1, 3, 0), (3, 1, 0), (0, 0, 0), (0, 3, 1)] {
        assert_eq!(run_with(act, segs, sherry).unwrap_err(), wrong, "{segs} from {act}, sherry {sherry}");
    }
}
