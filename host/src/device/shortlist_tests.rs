//! Shortlists of compiled models on the reference device.

use super::tests::{every_kind, machines, step, suits};
use super::*;
use crate::compile::{DeviceImage, Options};
use crate::engine::{Engine, Want};
use spec::bytes::Bytes;
use spec::format::planes::ranked;
use spec::format::table::{CodedMatrix, Table};
use spec::model::{
    ModelConfig,
    random::{self, RandomSpec, Rng},
};
use spec::program::{Descriptor, DeviceShape, Op, epilogue};

const PLAIN: RandomSpec = RandomSpec::PLAIN;

/// The tiles of the first step.
fn ranks(image: &DeviceImage) -> impl Iterator<Item = &Descriptor> {
    let ranks = |d: &&Descriptor| d.op() == Some(Op::Linear) && d.get("mode") == epilogue::RANK;
    image.narrow.shortlist.iter().flat_map(|program| &program.descriptors).filter(ranks)
}

/// With all groups in the list the shortlist is the exact choice; with few of them its logit is still exact.
#[test]
fn a_shortlist_picks_among_exact_logits() {
    for (index, (config, spec)) in every_kind().into_iter().enumerate() {
        let weights = random::model(&config, spec);
        for (machine, shape) in machines().into_iter().enumerate().filter(|(_, shape)| suits(&config, shape)) {
            let at = format!("model {index} on machine {machine}");
            let groups = config.vocab.div_ceil(shape.rows);
            let roomy = DeviceShape { shortlist: 255, buffer_words: 1 << 16, tile_rows: 256 * shape.rows, ..shape };
            for keep in [1, 5, groups] {
                let options = Options { shortlist: Some(keep), ..Options::default() };
                let mut device = ReferenceDevice::compiled(&weights, &roomy, options, 2).unwrap();
                let id = device.new_sequence().unwrap();
                for (position, token) in [3, 44, 17].into_iter().enumerate() {
                    let logits = device.forward(&[step(id, &[token], Want::Last)]).unwrap().remove(0);
                    device.truncate(id, position);
                    let image = device.image();
                    let program = image.narrow.shortlist.as_ref().unwrap();
                    let cache = image.sequence_line(id.0) as u32;
                    let pass = Pass {
                        program_line: program.line as u32,
                        program_words: program.descriptors.len() as u32,
                        slots: vec![spec::device::Slot {
                            valid: true,
                            token,
                            position: position as u32,
                            cache,
                            run: 1,
                        }],
                        want_logits: 0,
                        want_best: 1,
                    };
                    let (best, logit) = device.run(&pass).unwrap().best[0].unwrap();
                    assert_eq!(logits[best as usize], logit, "{at}");
                    assert!(keep < groups || Some(best) == spec::model::head::best(&logits), "{at}");
                    let answer = device.answer(&[step(id, &[token], Want::Best)]).unwrap().remove(0);
                    assert_eq!(answer.best, Some(best), "the engine takes the shortlist");
                }
                // the last token of a prompt has the list
                let prompt = &[3, 44, 17, 8, 29];
                let id = device.new_sequence().unwrap();
                let logits = device.forward(&[step(id, prompt, Want::Last)]).unwrap().remove(0);
                device.truncate(id, 0);
                let best = device.answer(&[step(id, prompt, Want::Best)]).unwrap().remove(0).best;
                assert!(keep < groups || best == spec::model::head::best(&logits), "{at}: prompt");
            }
        }
    }
}

/// Which rows the list holds does not hang on how the head is cut into tiles, the small last one included.
#[test]
fn a_shortlist_is_the_same_with_any_tiles() {
    let config = ModelConfig { vocab: 395, ..random::small() };
    let weights = random::model(&config, PLAIN);
    let mut cut = 0;
    for shape in machines().into_iter().filter(|shape| suits(&config, shape)) {
        let words = config.vocab.div_ceil(shape.rows);
        let listed = |tile_words: usize| -> (usize, Vec<Option<u32>>) {
            let shape = DeviceShape { buffer_words: 1 << 16, tile_rows: tile_words * shape.rows, ..shape.clone() };
            let best = |keep: usize| {
                let options = Options { shortlist: Some(keep), ..Options::default() };
                let mut device = ReferenceDevice::compiled(&weights, &shape, options, 2).unwrap();
                let id = device.new_sequence().unwrap();
                let answers = (0..12).map(|token| {
                    device.truncate(id, 0);
                    device.answer(&[step(id, &[11 * token], Want::Best)]).unwrap().remove(0).best
                });
                answers.collect::<Vec<_>>()
            };
            let options = Options { shortlist: Some(1), ..Options::default() };
            let image = ReferenceDevice::compiled(&weights, &shape, options, 2).unwrap();
            (ranks(image.image()).count(), [1, 3].map(best).concat())
        };
        // one tile with its small end, and tiles that are too short for one
        let ((two, whole), (many, parts)) = (listed(words), listed(words.div_ceil(5)));
        assert_eq!(whole, parts, "{words} words in {two} and {many} tiles");
        cut += usize::from(two == 2);
    }
    assert_ne!(cut, 0, "no machine cuts the last tile");
}

/// A head whose codes all have one magnitude, and are zero in front of the segments that rank, is ranked exactly: a list of one
/// group holds the best row.
#[test]
fn one_group_is_enough_if_the_ranking_plane_is_exact() {
    let config = random::small();
    let mut later = 0;
    for (machine, shape) in machines().into_iter().enumerate().filter(|(_, shape)| suits(&config, shape)) {
        let segment = shape.segment(false);
        let all = config.hidden.div_ceil(segment);
        let first = (all - ranked(all)) * segment;
        let mut rng = Rng::new(7);
        let code = |at: usize| match at % config.hidden {
            col if col < first => 0,
            _ => [50i8, 0, -50][rng.below(3)] as u8,
        };
        let codes: Vec<u8> = (0..config.vocab * config.hidden).map(code).collect();
        let table =
            CodedMatrix::new(config.vocab, config.hidden, Bytes::from(codes), vec![0.01; config.vocab]).unwrap();
        let mut weights = random::model(&config, PLAIN);
        weights.head = Some(Table::Coded(table));
        let options = Options { shortlist: Some(1), ..Options::default() };
        let mut device = ReferenceDevice::compiled(&weights, &shape, options, 1).unwrap();
        let id = device.new_sequence().unwrap();
        for token in 0..config.vocab as u32 {
            device.truncate(id, 0);
            let logits = device.forward(&[step(id, &[token], Want::Last)]).unwrap().remove(0);
            device.truncate(id, 0);
            let best = device.answer(&[step(id, &[token], Want::Best)]).unwrap().remove(0).best;
            assert_eq!(best, spec::model::head::best(&logits), "machine {machine}, token {token}");
        }
        let segments: Vec<usize> = ranks(device.image()).map(|d| d.get("segs") as usize).collect();
        assert!(segments.iter().all(|&segs| segs == ranked(all)) && !segments.is_empty(), "{segments:?}");
        later += usize::from(first > 0);
    }
    assert!(later > 1, "all machines rank from the first segment on");
}
