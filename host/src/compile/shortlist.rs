//! The output head in two steps: a plane ranks all groups of Q rows, then the best groups are computed exactly from packets
//! of their own.

use super::error::{CompileError, at_most};
use super::matrix::{Layout, head_tiles};
use super::packets::{Trits, WeightRun};
use super::ranking::Ranking;
use spec::format::{planes, table::CodedMatrix};
use spec::program::{Descriptor, DeviceShape, LABEL_NONE, LINE, Op, epilogue, stream, wait};
use std::ops::Range;

/// Groups that are listed: as many as machine and model allow.
pub(crate) const MOST: usize = 0;

/// Rows of a table as trits, plane by plane.
pub(super) struct Planes<'a> {
    pub table: &'a CodedMatrix,
    /// Planes that its codes need.
    pub count: usize,
    split: Vec<[i8; planes::PLANES]>,
}

impl<'a> Planes<'a> {
    pub fn new(table: &'a CodedMatrix) -> Self {
        let code = |byte: u8| (byte as i8).clamp(-planes::MAX_CODE, planes::MAX_CODE);
        let count = table.planes();
        Planes { table, count, split: (0..=u8::MAX).map(|byte| planes::split(code(byte))).collect() }
    }

    /// Trits of a plane of some rows; rows that the table does not have are zero.
    pub fn rows(&self, rows: Range<usize>, plane: usize) -> Vec<i8> {
        let known = rows.start..rows.end.min(self.table.rows());
        let codes = known.flat_map(|row| self.table.row(row));
        let mut trits: Vec<i8> = codes.map(|&code| self.split[code as usize][plane]).collect();
        trits.resize(rows.len() * self.table.cols(), 0);
        trits
    }
}

/// What the shortlist needs in memory.
pub(super) struct Shortlist {
    /// Groups that are listed.
    keep: usize,
    /// Words of a group: planes times segments.
    each: usize,
    /// Segments that rank.
    segments: Range<usize>,
    /// The ranking plane of all rows.
    ranks: WeightRun,
    /// Packets of every port, one of each group.
    groups: Vec<Vec<u8>>,
}

/// Regions of all ports: first line, lines from port to port.
pub(super) struct Region {
    pub line: u64,
    pub stride: u64,
}

impl Shortlist {
    /// Checks sizes and packs the rows; `norm` are the final norm's weights.
    pub fn new(
        shape: &DeviceShape,
        (planes, norm): (&Planes<'_>, &[f32]),
        layout: Layout,
        wanted: usize,
    ) -> Result<Self, CompileError> {
        let (q, segments) = (shape.rows, layout.segments());
        let words = planes.table.rows().div_ceil(q);
        let each = planes.count * segments.len();
        let exact = "use --head exact or another preset";
        let bytes = shape.weight_bytes(each as u64, false) as usize;
        at_most("bytes of a group of the head's rows on a port", bytes, shape.payload(), exact)?;
        at_most("words of a group of the head's rows", each, shape.buffer_words, exact)?;
        let most = (shape.buffer_words / each).min(shape.shortlist).min(words).min(shape.tile_words());
        at_most("groups of a shortlist", wanted, most, "list fewer groups")?;
        let keep = if wanted == MOST { most } else { wanted };
        let push = |run: &mut WeightRun, rows: &[i8], segments: &[Range<usize>]| {
            run.push(&Trits { rows, cols: layout.cols, segments });
        };
        let ranking = Ranking::new(planes.table, norm, layout);
        let mut ranks = WeightRun::new(shape, false);
        for tile in head_tiles(shape, planes.table.rows()) {
            let rows = ranking.rows(tile.start * q..tile.end * q);
            push(&mut ranks, &rows, &segments[ranking.segments.clone()]);
        }
        let mut groups = vec![Vec::new(); shape.ports];
        for word in 0..words {
            let mut run = WeightRun::new(shape, false);
            for plane in (0..planes.count).rev() {
                push(&mut run, &planes.rows(word * q..(word + 1) * q, plane), &segments);
            }
            groups.iter_mut().zip(run.finish()).for_each(|(all, packet)| all.extend(packet));
        }
        Ok(Shortlist { keep, each, segments: ranking.segments, ranks, groups })
    }

    /// What the program needs, and the packets of all ports: ranking plane, groups.
    pub fn finish(self) -> (Steps, [Vec<Vec<u8>>; 2]) {
        let steps = Steps { keep: self.keep, each: self.each, segments: self.segments, words: self.ranks.words };
        (steps, [self.ranks.finish(), self.groups])
    }
}

/// What the program needs to know.
pub(super) struct Steps {
    keep: usize,
    each: usize,
    segments: Range<usize>,
    /// Words of the ranking plane.
    words: u64,
}

impl Steps {
    fn run(region: &Region, packets: u64, words: u64) -> Result<Descriptor, CompileError> {
        let mut d = Descriptor::new(Op::Stream, 0, LABEL_NONE);
        d.set("stream", u64::from(stream::WEIGHT))?;
        for (name, value) in [("addr", region.line), ("stride", region.stride), ("packets", packets), ("words", words)]
        {
            d.set(name, value)?;
        }
        Ok(d)
    }

    /// Starts the ranking plane.
    pub fn ranks(&self, shape: &DeviceShape, region: &Region) -> Result<Descriptor, CompileError> {
        Self::run(region, shape.packets(shape.weight_bytes(self.words, false)), self.words)
    }

    /// The head's part of the program, made of that of the exact one.
    pub fn head(
        &self,
        shape: &DeviceShape,
        exact: &[Descriptor],
        region: &Region,
    ) -> Result<Vec<Descriptor>, CompileError> {
        let mut out: Vec<Descriptor> = exact.iter().filter(|d| d.op() != Some(Op::Stream)).copied().collect();
        let mut pick = None;
        for d in out.iter_mut().filter(|d| d.op() == Some(Op::Linear)) {
            pick = Some(*d);
            let segments = self.segments.len() as u64;
            d.set("planes", 1)?;
            d.set("act", u64::from(d.get("act")) + self.segments.start as u64)?;
            d.set("segs", segments)?;
            d.set("total", u64::from(d.get("words")) * segments)?;
            d.set("mode", u64::from(epilogue::RANK))?;
            d.set("keep", self.keep as u64)?;
        }
        let Some(mut pick) = pick else { return Ok(out) };
        // the list is complete when the head rests
        let mut gather = Self::run(region, self.keep as u64, (self.keep * self.each) as u64)?;
        gather.words[0] |= wait::EPILOGUE << 8;
        gather.set("listed", 1)?;
        gather.set("each", self.each as u64)?;
        let place = [("words", self.keep), ("cols", self.keep * shape.rows), ("base", 0)];
        place.into_iter().try_for_each(|(name, value)| pick.set(name, value as u64))?;
        pick.set("mode", u64::from(epilogue::PICK))?;
        pick.set("total", (self.keep * self.each) as u64)?;
        out.extend([gather, pick]);
        Ok(out)
    }
}

/// Lines of a region of each port's packets, all alike.
pub(super) fn stride(ports: &[Vec<u8>]) -> u64 {
    ports.first().map_or(0, |port| port.len() as u64 / LINE)
}
