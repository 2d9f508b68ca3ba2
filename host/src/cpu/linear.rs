//! Linear layers that share an input: the packed matrices and the forms of the input they need.

use super::{
    acts::Acts,
    gate,
    isa::Isa,
    layout::{Code, ROWS, Shape},
    matmul::{self, Packed, products},
    pool::Pool,
    shared::Shared,
    tiles::Tiles,
    vector::{self, Norm, Tables},
};
use spec::{
    format::matrix::{Linear, TritMatrix},
    model::Activation,
};
use std::ops::Range;

/// One plane of trits.
struct Plane {
    shape: Shape,
    bytes: Range<usize>,
    group: usize,
    multipliers: Vec<u8>,
    scales: Vec<[f32; ROWS]>,
    acts: usize,
}

impl Plane {
    fn packed<'a>(&'a self, store: &'a [u8]) -> Packed<'a> {
        let bytes = &store[self.bytes.clone()];
        Packed { shape: self.shape, bytes, group: self.group, multipliers: &self.multipliers }
    }
}

/// One linear layer.
struct Projection {
    planes: Vec<Plane>,
    bias: Vec<[f32; ROWS]>,
    input: usize,
}

/// One norm of the input, and the forms of the quantised result: an index into [`Inputs::acts`] each.
struct Input {
    norm: Option<(Vec<f32>, f32)>,
    forms: Vec<(usize, Shape, usize)>,
}

impl Input {
    fn own(&self) -> Option<Norm<'_>> {
        self.norm.as_ref().map(|(weight, eps)| (weight.as_slice(), *eps))
    }
}

/// Tokens that are quantised as a unit of work.
#[cfg(target_arch = "x86_64")]
const UNIT_TOKENS: usize = 8;

/// Linear layers with a common input: q, k and v, for example.
pub struct Fused {
    parts: Vec<Projection>,
    inputs: Vec<Input>,
}

/// Where matrices go in the store, and what is to be packed there.
#[derive(Default)]
pub struct Plan {
    /// Bytes so far.
    pub bytes: usize,
    /// Matrices to pack, in the order of the store.
    pub jobs: Vec<(TritMatrix, Shape, Range<usize>)>,
}

/// Quantised inputs of a [`Fused`], reused from layer to layer.
#[derive(Default)]
pub struct Inputs {
    tokens: usize,
    acts: Vec<Acts>,
    scales: Vec<Vec<f32>>,
}

/// Buffers of a thread.
#[derive(Default)]
pub struct Scratch {
    row: Vec<[f32; ROWS]>,
    codes: Vec<i8>,
    work: [Vec<f32>; 2],
    products: matmul::Scratch,
}

impl Fused {
    /// Plans the layers `linears`, which all have the same number of inputs.
    pub fn new(isa: Isa, linears: &[&Linear], plan: &mut Plan) -> Self {
        let mut fused = Fused { parts: Vec::new(), inputs: Vec::new() };
        let mut forms = 0;
        for linear in linears {
            let norm = &linear.input_norm;
            let input = fused.inputs.iter().position(|i| i.norm == *norm).unwrap_or_else(|| {
                fused.inputs.push(Input { norm: norm.clone(), forms: Vec::new() });
                fused.inputs.len() - 1
            });
            let planes = linear.planes.iter().map(|plane| {
                let (rows, cols) = (linear.rows(), linear.cols());
                let shape = Shape { code: isa.code(plane.trits.encoding()), rows, cols };
                let scale = plane.scale.to_device(rows, cols);
                let group = if scale.multipliers.is_empty() { cols } else { scale.group };
                let known = &mut fused.inputs[input].forms;
                let same = |form: &&(usize, Shape, usize)| (form.1.code, form.2) == (shape.code, group);
                let acts = known.iter().find(same).map(|form| form.0).unwrap_or_else(|| {
                    known.push((forms, shape, group));
                    forms += 1;
                    forms - 1
                });
                let bytes = plan.bytes..plan.bytes + shape.bytes();
                plan.bytes = bytes.end;
                plan.jobs.push((plane.trits.clone(), shape, bytes.clone()));
                let multipliers = by_blocks(&scale.multipliers, rows, cols.div_ceil(group));
                Plane { shape, bytes, group, multipliers, scales: in_blocks(&scale.row), acts }
            });
            let planes = planes.collect();
            let bias = linear.bias.as_deref().map(in_blocks).unwrap_or_default();
            fused.parts.push(Projection { planes, bias, input });
        }
        fused
    }

    /// Row blocks of a layer.
    pub fn blocks(&self, part: usize) -> usize {
        self.parts[part].planes[0].shape.blocks()
    }

    /// Row blocks that make a good unit of work. Few tokens: long streams, but several units for each
    /// thread. Many tokens: two blocks. Always even.
    pub fn unit_blocks(&self, part: usize, tokens: usize, threads: usize) -> usize {
        let bytes = self.parts[part].planes[0].shape.block_bytes();
        let stream = (192 << 10) / bytes / tokens.max(1);
        let fair = self.blocks(part).div_ceil(4 * threads);
        stream.min(if threads > 1 { fair } else { usize::MAX }).next_multiple_of(2).max(2)
    }

    /// Norms and quantises the tokens of `x`.
    pub fn quantize(
        &self,
        isa: Isa,
        pool: &mut Pool,
        x: &Tiles,
        norm: Option<Norm<'_>>,
        inputs: &mut Inputs,
        scratch: &mut [Scratch],
    ) {
        let tokens = x.tokens();
        inputs.tokens = tokens;
        let forms = self.inputs.iter().map(|i| i.forms.len()).sum();
        if inputs.acts.len() < forms {
            inputs.acts.resize_with(forms, Acts::default);
        }
        inputs.scales.resize_with(self.inputs.len().max(inputs.scales.len()), Vec::new);
        for input in &self.inputs {
            for &(acts, shape, group) in &input.forms {
                inputs.acts[acts].begin(isa, shape, group, tokens);
            }
        }
        for scales in &mut inputs.scales {
            scales.resize(tokens, 0.0);
        }
        let writers: Vec<_> = inputs.acts[..forms].iter_mut().map(Acts::writer).collect();
        let scales: Vec<_> = inputs.scales.iter_mut().map(|s| Shared::new(s)).collect();
        let scratch = Shared::new(scratch);
        // SAFETY: every thread has its own scratch; a unit's tokens are its own, here and below.
        let one = |thread: usize, token: usize| unsafe {
            let scratch = scratch.one(thread);
            let mut row = std::mem::take(&mut scratch.row);
            let x = x.token(token, &mut row);
            for (input, scales) in self.inputs.iter().zip(&scales) {
                let scale = quantize_one(isa, x, norm, input.own(), scratch);
                for &(acts, ..) in &input.forms {
                    writers[acts].token(token, &scratch.codes);
                }
                scales.set(token, scale);
            }
            scratch.row = row;
        };
        #[cfg(target_arch = "x86_64")]
        if matches!(isa, Isa::Avx512 | Isa::Amx) && self.is_direct(norm) {
            let source = super::avx512::quantize::Source { x: x.data(), stride: x.stride(), cols: x.rows() };
            pool.run(tokens.div_ceil(UNIT_TOKENS), &|thread, unit| {
                let end = tokens.min((unit + 1) * UNIT_TOKENS);
                let mut token = unit * UNIT_TOKENS;
                while token + 4 <= end {
                    for (input, scales) in self.inputs.iter().zip(&scales) {
                        let writer = &writers[input.forms[0].0];
                        // SAFETY: these sets are only offered where the processor has their features.
                        unsafe {
                            let four = writer.quantize::<4>(source, token, norm.or(input.own()));
                            scales.scatter(token, 1, four.into_iter());
                        }
                    }
                    token += 4;
                }
                (token..end).for_each(|token| one(thread, token));
            });
            return;
        }
        pool.run(tokens, &one);
    }

    /// Whether every input has one norm at most and one form without multipliers along a row.
    #[cfg(target_arch = "x86_64")]
    fn is_direct(&self, norm: Option<Norm<'_>>) -> bool {
        let direct = |input: &Input| match input.forms[..] {
            [(_, shape, group)] => shape.cols == group && (norm.is_none() || input.norm.is_none()),
            _ => false,
        };
        self.inputs.iter().all(direct)
    }

    /// Whether a layer's outputs are one product each, so that they may be added to what is there.
    pub fn is_single(&self, part: usize) -> bool {
        self.parts[part].planes.len() == 1 && self.parts[part].bias.is_empty()
    }

    /// Whether [`Fused::gated_rows`] serves: two layers of one product each, of the same input.
    pub fn is_pair(&self) -> bool {
        let [first, second] = &self.parts[..] else { return false };
        let plain = |p: &Projection| p.planes.len() == 1 && p.bias.is_empty() && p.planes[0].multipliers.is_empty();
        plain(first)
            && plain(second)
            && first.input == second.input
            && (first.planes[0].shape, first.planes[0].acts) == (second.planes[0].shape, second.planes[0].acts)
    }

    /// `act(first) * second` of the row blocks `blocks` of two layers, into the tiles of these blocks as
    /// in [`Fused::rows`]; needs [`Fused::is_pair`].
    pub fn gated_rows(
        &self,
        isa: Isa,
        store: &[u8],
        blocks: Range<usize>,
        inputs: &Inputs,
        scratch: &mut Scratch,
        (activation, tables): (Activation, &Tables),
        (out, stride): (&mut [[f32; ROWS]], usize),
    ) {
        assert!(self.is_pair(), "a pair of layers");
        let scales = &inputs.scales[self.parts[0].input][..inputs.tokens];
        let planes = [&self.parts[0].planes[0], &self.parts[1].planes[0]];
        let packed = planes.map(|plane| plane.packed(store));
        let acts = &inputs.acts[planes[0].acts];
        matmul::products_of_two(isa, packed, blocks.clone(), acts, &mut scratch.products, |block, sums| {
            let out = &mut out[(block - blocks.start) * stride..][..inputs.tokens];
            let rows = planes.map(|plane| &plane.scales[block]);
            gate::gate_sums(isa, activation, tables, sums, scales, rows, out);
        });
    }

    /// Outputs of the row blocks `blocks` of a layer, into the tiles of these blocks: `out[(block -
    /// blocks.start) * stride + token]`; added to them if `add`, which needs [`Fused::is_single`].
    pub fn rows(
        &self,
        isa: Isa,
        store: &[u8],
        part: usize,
        blocks: Range<usize>,
        inputs: &Inputs,
        scratch: &mut Scratch,
        (out, stride): (&mut [[f32; ROWS]], usize),
        add: bool,
    ) {
        assert!(!add || self.is_single(part), "one product");
        let projection = &self.parts[part];
        let tokens = inputs.tokens;
        let scales = &inputs.scales[projection.input][..tokens];
        let last = projection.planes.len() - 1;
        for (index, plane) in projection.planes.iter().enumerate() {
            let acts = &inputs.acts[plane.acts];
            products(isa, plane.packed(store), blocks.clone(), acts, &mut scratch.products, |block, sums| {
                let out = &mut out[(block - blocks.start) * stride..][..tokens];
                vector::dequantize(isa, sums, scales, &plane.scales[block], index == 0 && !add, out);
                if let (true, Some(bias)) = (index == last, projection.bias.get(block)) {
                    out.iter_mut().for_each(|out| vector::add_to(isa, out, bias));
                }
            });
        }
    }
}

/// One token's codes into `scratch.codes`; returns its scale. The four cases of
/// `spec::model::decoder`.
fn quantize_one(isa: Isa, x: &[f32], norm: Option<Norm<'_>>, own: Option<Norm<'_>>, scratch: &mut Scratch) -> f32 {
    let Scratch { codes, work: [normed, work], .. } = scratch;
    codes.resize(x.len(), 0);
    normed.resize(x.len(), 0.0);
    work.resize(x.len(), 0.0);
    match (norm, own) {
        (None, None) => vector::quantize(isa, x, codes),
        (Some(norm), None) | (None, Some(norm)) => vector::norm_quantize(isa, x, norm, work, codes),
        (Some(norm), Some(own)) => {
            vector::norm(isa, x, norm, normed);
            vector::norm_quantize(isa, normed, own, work, codes)
        }
    }
}

/// `[rows]` to blocks of 16, padded with zeros.
fn in_blocks(rows: &[f32]) -> Vec<[f32; ROWS]> {
    let block = |rows: &[f32]| std::array::from_fn(|i| rows.get(i).copied().unwrap_or(0.0));
    rows.chunks(ROWS).map(block).collect()
}

/// Multipliers `[rows][groups]` to `[row blocks][groups][16]`.
fn by_blocks(multipliers: &[u8], rows: usize, groups: usize) -> Vec<u8> {
    if multipliers.is_empty() {
        return Vec::new();
    }
    let at = |row: usize, group| if row < rows { multipliers[row * groups + group] } else { 0 };
    let lanes = |block, group| (0..ROWS).map(move |lane| at(block * ROWS + lane, group));
    (0..rows.div_ceil(ROWS)).flat_map(|block| (0..groups).flat_map(move |group| lanes(block, group))).collect()
}

/// Widest matrix whose sums with multipliers stay in 32 bits.
pub const MAX_GROUPED_COLS: usize = i32::MAX as usize / (127 * 255);

/// Whether the 32-bit kernels can compute this layer exactly.
pub fn fits(linear: &Linear) -> bool {
    linear.cols() <= MAX_GROUPED_COLS || linear.planes.iter().all(|p| p.scale.group(linear.cols()) == linear.cols())
}

/// The layout of the head's activations: as they are.
pub const fn plain_shape(rows: usize, cols: usize) -> Shape {
    Shape { code: Code::Two, rows, cols }
}
