//! The compiler: a model and the sizes of a machine to programs and the bytes of its memory.
//!
//! * `matrix`: rows of a matrix in the order of the engine, rounds that add planes up.
//! * `emit`: descriptors with the streams they consume.
//! * `hazards`: what waits for what.
//! * `layers`: the order of a pass; `heads`: codes of heads, and attention.
//! * `memory`: places in the vector memory, layout of a cache.
//! * `shortlist`: the head in two steps, rank and pick.
//! * `ranking`: the plane of the first step.
//! * `packets`: weights as packets.
//! * `tables`: embedding rows, rotary factors.
//! * `image`: the result.
//!
//! The same model and machine give the same bytes.

mod emit;
mod error;
mod hazards;
mod heads;
mod image;
mod layers;
mod matrix;
mod memory;
mod packets;
mod ranking;
mod shortlist;
mod tables;

pub use error::CompileError;
pub use image::{DeviceImage, Program, Programs, Section};
pub use memory::{CacheGeometry, Heads, VectorMap};

use emit::{Counts, Emitter};
use layers::LayerPlan;
use shortlist::{Planes, Shortlist};
use spec::model::{ModelConfig, ModelWeights};
use spec::program::{DeviceShape, Op};

/// Choices of a compilation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Positions of a sequence; otherwise as many as model and machine allow.
    pub context: Option<usize>,
    /// Also a program whose head ranks all groups of rows by a plane of their own and computes exactly only this many;
    /// 0: as many as machine and model allow.
    pub shortlist: Option<usize>,
}

/// Compiles a model for a machine.
pub fn compile(weights: &ModelWeights, shape: &DeviceShape, options: Options) -> Result<DeviceImage, CompileError> {
    shape.validate()?;
    weights.validate()?;
    let mut config = weights.config.clone();
    let context = options.context.unwrap_or(config.max_context.min(shape.max_context));
    let advice = "use a smaller context (-c) or a preset with a larger one";
    error::at_most("context", context, config.max_context.min(shape.max_context), advice)?;
    if context == 0 {
        let (what, expected) = ("context".to_string(), "at least 1".to_string());
        return Err(CompileError::Rule { what, found: 0, expected, advice: "use a larger context (-c)" });
    }
    for (what, cols) in [("hidden", config.hidden), ("heads x head_dim", config.q_dim()), ("ffn", config.ffn)] {
        error::at_most(what, cols, shape.max_cols, "choose a preset with a larger engine.max_cols")?;
    }
    config.max_context = context;
    let heads = Heads::new(&config, shape)?;
    let cache = CacheGeometry::new(&config, shape, &heads, context);
    let plans: Vec<LayerPlan<'_>> = weights.layers.iter().map(|l| LayerPlan::new(&config, shape, l)).collect();
    let matrices: Vec<_> = plans.iter().flat_map(LayerPlan::matrices).collect();
    let map = VectorMap::new(&config, shape, &heads, &matrices)?;

    let embed = weights.embed.to_coded();
    let head = weights.head.as_ref().map(|head| head.to_coded());
    let model = Model {
        weights,
        config: &config,
        plans: &plans,
        head: &Planes::new(head.as_ref().unwrap_or(&embed)),
        heads: &heads,
        cache: &cache,
    };
    let narrow = model.emit(shape, map, 1)?;
    let layout = layers::head_layout(shape, config.hidden);
    let shared = shape.banks > 1
        && map.words * shape.banks <= shape.vm_words
        && plans.iter().all(|plan| plan.fits_ring(shape))
        && layout.segments().len() <= shape.segments / shape.banks;
    let wide = if shared { Some(model.emit(shape, map, shape.banks)?) } else { None };
    let rows = (model.head, weights.final_norm.as_slice());
    let shortlist = options.shortlist.map(|wanted| Shortlist::new(shape, rows, layout, wanted)).transpose()?;
    let embed_bytes = tables::embed(&embed, shape, tables::embed_beats(&config, shape));
    let rope = tables::rope(&config, shape, context, tables::rope_beats(&heads, shape));
    image::assemble((narrow, wide), shortlist, [embed_bytes, rope], (config.clone(), heads, cache))
}

/// A model on its way to programs.
struct Model<'a> {
    weights: &'a ModelWeights,
    config: &'a ModelConfig,
    plans: &'a [LayerPlan<'a>],
    /// Rows of the head.
    head: &'a Planes<'a>,
    heads: &'a Heads,
    cache: &'a CacheGeometry,
}

impl<'a> Model<'a> {
    /// The program for so many banks, where its head begins, and what it takes from streams up to there.
    fn emit(
        &self,
        shape: &'a DeviceShape,
        map: VectorMap,
        banks: usize,
    ) -> Result<(Emitter<'a>, (usize, Counts)), CompileError> {
        let mut e = Emitter::new(shape, map, banks);
        for bank in 0..banks {
            let fields = [
                ("bank", bank as u64),
                ("embed_beats", tables::embed_beats(self.config, shape) as u64),
                ("words", self.config.hidden.div_ceil(shape.lanes()) as u64),
                ("rope_beats", tables::rope_beats(self.heads, shape) as u64),
                ("dst", e.map(bank).x as u64),
            ];
            match bank {
                0 => e.emit(Op::Gather, &fields)?,
                _ => e.put_off(|e| e.emit(Op::Gather, &fields))?,
            }
        }
        for (index, plan) in self.plans.iter().enumerate() {
            plan.emit(&mut e, self.config, (self.heads, self.cache), index)?;
        }
        let layers = (e.program.len(), e.counts.clone());
        layers::head(&mut e, self.weights, self.head)?;
        Ok((e, layers))
    }
}

#[cfg(test)]
mod tests;
