//! The compiled model: sections of memory, its programs, and what the host must know.

use super::emit::{Counts, Emitter};
use super::error::CompileError;
use super::memory::{CacheGeometry, Heads, VectorMap};
use super::packets::WeightRun;
use super::shortlist::{Region, Shortlist, Steps, stride};
use spec::model::ModelConfig;
use spec::program::{BYTES, Descriptor, DeviceShape, LABEL_NONE, LINE, Op, PACKET, stream, wait, write_packets};

/// Bytes that lie together in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// What they are.
    pub name: String,
    /// Their first line.
    pub line: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// Begins the name of a section that holds codes of weights.
const WEIGHTS: &str = "weights ";

impl Section {
    /// Whether the machine reads codes of weights from it.
    pub fn holds_weights(&self) -> bool {
        self.name.starts_with(WEIGHTS)
    }
}

/// A program in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    /// Its first line.
    pub line: u64,
    /// Its descriptors.
    pub descriptors: Vec<Descriptor>,
}

/// Programs for passes on some banks of slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programs {
    /// Up to the keys and values of the last layer: for tokens whose logits nobody wants.
    pub body: Program,
    /// All layers and the head, for the slots of the last bank; others end as in `body`.
    pub full: Program,
    /// All layers and the head in two steps, which gives the best token of the last slot, most probably.
    pub shortlist: Option<Program>,
}

impl Programs {
    /// All of them with names that begin with `stem`.
    fn named(&self, stem: &str) -> impl Iterator<Item = (String, &Program)> {
        let all = [("body", Some(&self.body)), ("full", Some(&self.full)), ("shortlist", self.shortlist.as_ref())];
        all.into_iter().filter_map(move |(name, program)| Some((format!("{stem}{name} program"), program?)))
    }
}

/// A model compiled for a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceImage {
    /// The machine.
    pub shape: DeviceShape,
    /// The model; its context is the compiled one.
    pub config: ModelConfig,
    /// What to write to memory before the first pass.
    pub sections: Vec<Section>,
    /// The programs for one bank of slots.
    pub narrow: Programs,
    /// The programs for two banks of slots, if the machine has them and the model lets them share weights.
    pub wide: Option<Programs>,
    /// Sizes of heads.
    pub heads: Heads,
    /// Places of the first bank in the vector memory.
    pub vectors: VectorMap,
    /// Layout of a sequence's cache.
    pub cache: CacheGeometry,
    /// First line of the area for logits: a row of binary32 for every slot.
    pub logits_line: u64,
    /// Lines of a slot's logits.
    pub logits_lines: u64,
    /// First line of the first sequence's cache.
    pub cache_line: u64,
}

impl DeviceImage {
    /// The program of a pass on so many slots. A pass on several banks gives results of the last one alone.
    pub fn program(&self, slots: usize, want_logits: u64, want_best: u64) -> &Program {
        let Programs { body, full, shortlist } = match &self.wide {
            Some(wide) if slots > self.shape.tokens => wide,
            _ => &self.narrow,
        };
        let last = 1u64.checked_shl(slots.saturating_sub(1) as u32).unwrap_or(0);
        let only_last = want_logits == 0 && want_best == last;
        match shortlist {
            _ if want_logits | want_best == 0 => body,
            Some(shortlist) if only_last => shortlist,
            _ => full,
        }
    }

    /// Bytes of memory with caches for this many sequences.
    pub fn memory_bytes(&self, sequences: usize) -> u64 {
        (self.cache_line + self.cache.lines * sequences as u64) * LINE
    }

    /// Sequences whose caches fit a memory.
    pub fn sequences(&self, memory_bytes: u64) -> usize {
        ((memory_bytes / LINE).saturating_sub(self.cache_line) / self.cache.lines) as usize
    }

    /// First line of a sequence's cache.
    pub fn sequence_line(&self, sequence: usize) -> u64 {
        self.cache_line + self.cache.lines * sequence as u64
    }

    /// All sections in a memory of this size.
    pub fn memory(&self, bytes: u64) -> Vec<u8> {
        let mut memory = vec![0; bytes.max(self.memory_bytes(0)) as usize];
        for section in &self.sections {
            let start = (section.line * LINE) as usize;
            memory[start..start + section.bytes.len()].copy_from_slice(&section.bytes);
        }
        memory
    }

    /// Sizes for people, one thing a line.
    pub fn report(&self) -> String {
        let mut text = String::new();
        for section in &self.sections {
            text += &format!("{:<12} line {:>9} {:>12} bytes\n", section.name, section.line, section.bytes.len());
        }
        let bytes = self.cache.lines * LINE;
        text += &format!("{:<12} line {:>9} {bytes:>12} bytes a sequence\n", "cache", self.cache_line);
        let (words, all) = (self.vectors.words, self.shape.vm_words);
        text + &format!(
            "vector memory: {words} of {all} column words; {} descriptors\n",
            self.narrow.full.descriptors.len()
        )
    }
}

/// Sections begin at packets, so that no burst of a packet crosses 4 KiB.
struct Layout {
    sections: Vec<Section>,
    line: u64,
}

impl Layout {
    fn place(&mut self, bytes: u64) -> u64 {
        let line = self.line;
        self.line += bytes.next_multiple_of(PACKET) / LINE;
        line
    }

    fn add(&mut self, name: impl Into<String>, bytes: Vec<u8>) -> u64 {
        let line = self.place(bytes.len() as u64);
        if !bytes.is_empty() {
            self.sections.push(Section { name: name.into(), line, bytes });
        }
        line
    }
}

impl Layout {
    /// Regions of weights of all ports, all of one length.
    fn region(&mut self, name: &str, ports: Vec<Vec<u8>>) -> Region {
        let region = Region { line: self.line, stride: stride(&ports) };
        for (port, bytes) in ports.into_iter().enumerate() {
            self.add(format!("{WEIGHTS}{name}.{port}"), bytes);
        }
        region
    }
}

/// Where streams lie.
struct Streams {
    /// First line of each weight run, lines from port to port.
    weights: Vec<(u64, u64)>,
    sherry: Vec<bool>,
    rows: u64,
    norms: u64,
    mults: u64,
}

/// A program, where its head begins, and what it takes from streams up to there.
type Emitted<'a> = (Emitter<'a>, (usize, Counts));

/// A program without lengths of streams: descriptors, where weight runs start.
struct Draft {
    program: Vec<Descriptor>,
    starts: Vec<usize>,
    counts: Counts,
    /// Where the head begins.
    layers: (usize, Counts),
    /// Up to the last layer's keys and values.
    body: (Vec<Descriptor>, Counts),
}

impl Draft {
    /// The whole program.
    fn full(&self, at: &Streams, shape: &DeviceShape) -> Result<Vec<Descriptor>, CompileError> {
        complete(shape, &self.program, &self.starts, at, &self.counts)
    }

    /// Up to the last layer's keys and values.
    fn body(&self, at: &Streams, shape: &DeviceShape) -> Result<Vec<Descriptor>, CompileError> {
        let (body, counts) = &self.body;
        complete(shape, body, &self.starts[..counts.weights.len()], at, counts)
    }

    /// The whole program with a head in two steps.
    fn shortlist(
        &self,
        at: &Streams,
        shape: &DeviceShape,
        steps: &Steps,
        [ranks, groups]: &[Region; 2],
    ) -> Result<Vec<Descriptor>, CompileError> {
        // the ranking plane comes right after the layers' weights, so it is read ahead like them
        let (layers, ends) = &self.layers;
        let starts: Vec<usize> = self.starts.iter().copied().filter(|start| start < layers).collect();
        let mut all = self.program.clone();
        let head = all.split_off(*layers);
        all.extend(steps.head(shape, &head, groups)?);
        all.insert(starts.last().map_or(1, |start| start + 1), steps.ranks(shape, ranks)?);
        let counts = Counts { rows: self.counts.rows, norms: self.counts.norms, ..ends.clone() };
        complete(shape, &all, &starts, at, &counts)
    }
}

/// Takes a program's small streams into the layout.
fn draft(
    layout: &mut Layout,
    (e, layers): Emitted<'_>,
    name: &str,
    [embed, rope]: [u64; 2],
) -> Result<(Draft, Streams, Vec<WeightRun>), CompileError> {
    let at = Streams {
        weights: Vec::new(),
        sherry: e.runs.iter().map(|run| run.sherry).collect(),
        norms: layout.add(format!("{name}norms"), e.norms.finish(0)),
        rows: layout.add(format!("{name}rows"), e.rows.finish(0)),
        mults: layout.add(format!("{name}multipliers"), e.mults.finish(0)),
    };
    let (mut program, mut body) = (e.program, e.body.unwrap_or_default());
    for d in program.iter_mut().chain(&mut body.0).filter(|d| d.op() == Some(Op::Gather)) {
        d.set("embed", embed)?;
        d.set("rope", rope)?;
    }
    Ok((Draft { program, starts: e.starts, counts: e.counts, layers, body }, at, e.runs))
}

/// Lays everything out and completes the programs.
pub(super) fn assemble(
    (narrow, wide): (Emitted<'_>, Option<Emitted<'_>>),
    shortlist: Option<Shortlist>,
    [embed, rope]: [Vec<u8>; 2],
    (config, heads, cache): (ModelConfig, Heads, CacheGeometry),
) -> Result<DeviceImage, CompileError> {
    let (shape, map) = (narrow.0.shape, narrow.0.map(0));
    let mut layout = Layout { sections: Vec::new(), line: 0 };
    let streams = narrow.0.runs.len() as u64 + 3;
    let program_bytes = |len: usize| shape.packets((len as u64 + streams + 1) * BYTES as u64) * PACKET;
    let listed = shortlist.is_some();
    let mut lines = |(e, _): &Emitted<'_>| {
        let (all, body) = (e.program.len(), e.body.as_ref().map_or(0, |body| body.0.len()));
        let shortlist = if listed { layout.place(program_bytes(all + 3)) } else { 0 };
        [layout.place(program_bytes(body)), layout.place(program_bytes(all)), shortlist]
    };
    let narrow_lines = lines(&narrow);
    let wide_lines = wide.as_ref().map(lines);
    let tables = [layout.add("embedding", embed), layout.add("rotary", rope)];
    let (narrow, mut at, runs) = draft(&mut layout, narrow, "", tables)?;
    let wide = wide.map(|wide| draft(&mut layout, wide, "wide ", tables)).transpose()?;
    for (number, run) in runs.into_iter().enumerate() {
        let region = layout.region(&number.to_string(), run.finish());
        at.weights.push((region.line, region.stride));
    }
    let shortlist = shortlist.map(|list| {
        let (steps, [ranks, groups]) = list.finish();
        (steps, [layout.region("of the ranking plane", ranks), layout.region("of groups", groups)])
    });
    let programs = |draft: &Draft, at: &Streams, lines: [u64; 3]| -> Result<Programs, CompileError> {
        let program = |line: u64, descriptors: Vec<Descriptor>| Program { line, descriptors };
        let listed =
            shortlist.as_ref().map(|(steps, regions)| draft.shortlist(at, shape, steps, regions)).transpose()?;
        Ok(Programs {
            body: program(lines[0], draft.body(at, shape)?),
            full: program(lines[1], draft.full(at, shape)?),
            shortlist: listed.map(|listed| program(lines[2], listed)),
        })
    };
    let narrow = programs(&narrow, &at, narrow_lines)?;
    let wide = wide
        .zip(wide_lines)
        .map(|((wide, own, _), lines)| programs(&wide, &Streams { weights: at.weights.clone(), ..own }, lines));
    let wide = wide.transpose()?;
    for (name, program) in narrow.named("").chain(wide.iter().flat_map(|wide| wide.named("wide "))) {
        let descriptors: Vec<u8> = program.descriptors.iter().flat_map(Descriptor::to_bytes).collect();
        let mut bytes = Vec::new();
        write_packets(&descriptors, shape.beat(), 0, &mut bytes);
        layout.sections.insert(0, Section { name, line: program.line, bytes });
    }
    layout.sections.sort_by_key(|section| section.line);
    let logits_bytes = (4 * config.vocab as u64).next_multiple_of(PACKET);
    let logits_line = layout.place(logits_bytes * shape.slots() as u64);
    let (logits_lines, cache_line) = (logits_bytes / LINE, layout.line);
    let (shape, vectors, sections) = (shape.clone(), map, layout.sections);
    Ok(DeviceImage {
        shape,
        config,
        sections,
        narrow,
        wide,
        heads,
        vectors,
        cache,
        logits_line,
        logits_lines,
        cache_line,
    })
}

/// Enters the runs of all streams and the end.
fn complete(
    shape: &DeviceShape,
    program: &[Descriptor],
    starts: &[usize],
    at: &Streams,
    counts: &Counts,
) -> Result<Vec<Descriptor>, CompileError> {
    let gathers = program.iter().take_while(|d| d.op() == Some(Op::Gather)).count();
    let mut out = program[..gathers].to_vec();
    for (id, line, words, size) in [
        (stream::NORM, at.norms, counts.norms, 4 * shape.lanes()),
        (stream::ROW, at.rows, counts.rows, 4 * shape.rows),
        (stream::MULT, at.mults, counts.mults, shape.rows),
    ] {
        if words > 0 {
            let mut d = Descriptor::new(Op::Stream, 0, LABEL_NONE);
            d.set("stream", u64::from(id))?;
            d.set("addr", line)?;
            d.set("packets", shape.packets(words * size as u64))?;
            d.set("words", words)?;
            out.push(d);
        }
    }
    for (index, d) in program.iter().enumerate().skip(gathers) {
        let mut d = *d;
        if let Some(run) = starts.iter().position(|&start| start == index) {
            let (words, (line, stride)) = (counts.weights[run], at.weights[run]);
            d.set("addr", line)?;
            d.set("stride", stride)?;
            d.set("packets", shape.packets(shape.weight_bytes(words, at.sherry[run])))?;
            d.set("words", words)?;
        }
        out.push(d);
    }
    out.push(Descriptor::new(Op::End, wait::ALL, LABEL_NONE));
    Ok(out)
}
