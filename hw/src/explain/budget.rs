//! Bytes and cycles of a token of known models.

use super::cost::{MODELS, ModelShape, attention, head, layers};
use crate::preset::Machine;

/// Positions for which attention is counted.
const CONTEXT: u64 = 512;

fn rate(machine: &Machine, cycles: u64, tokens: u64) -> f64 {
    f64::from(machine.mhz) * 1e6 * tokens as f64 / cycles as f64
}

/// Why a model does not run.
fn refusal(machine: &Machine, model: &ModelShape) -> Option<String> {
    let widest = model.hidden.max(model.ffn).max(model.q);
    if widest > machine.engine.cols {
        return Some(format!("a layer of {widest} inputs, max_cols = {}", machine.engine.cols));
    }
    let dim = u64::from(machine.max_head_dim);
    (model.head_dim > dim).then(|| format!("heads of {}, max_head_dim = {dim}", model.head_dim))
}

fn lines_of(machine: &Machine, model: &ModelShape) -> Vec<String> {
    if let Some(why) = refusal(machine, model) {
        return vec![format!("{:<13}does not fit: {why}", model.name)];
    }
    let context = CONTEXT.min(machine.max_context);
    let cache = attention(machine, model, context, model.q / model.kv);
    let one = |(weights, sherry): (&str, bool)| {
        let layers = layers(machine, model, sherry);
        let token = layers.add(head(machine, model));
        let ports = token.memory_cycles + cache.beats.div_ceil(machine.ports.into());
        let units = token.engine_cycles + cache.cycles;
        format!(
            "{:<13}{weights:<7}{:>9.1}{:>10}{:>10}{:>9.1}{:>9}{:>9}{:>9}{:>8}{:>9.1}{:>9.0}",
            model.name,
            token.bytes as f64 / 1e6,
            token.memory_cycles,
            token.engine_cycles,
            rate(machine, token.cycles(), 1),
            cache.position_bytes,
            cache.beats.div_ceil(machine.ports.into()),
            cache.cycles,
            if ports >= units { "ports" } else { "units" },
            rate(machine, ports.max(units), 1),
            rate(machine, layers.engine_cycles, machine.engine.tokens.into())
        )
    };
    [("dense", false), ("Sherry", true)].map(one).to_vec()
}

/// The table of known models.
pub(super) fn budget(machine: &Machine) -> Vec<String> {
    let context = CONTEXT.min(machine.max_context);
    let mut out = vec![
        String::new(),
        "estimated by formula: linear layers and the ranking of the head's rows; then attention of one token. Norms,"
            .into(),
        "the exact rows of the head and what memory loses are not in it.".into(),
        "  port cyc    cycles in which all ports together bring the weights (KV: the cache of the context)".into(),
        "  engine cyc  the engine, attn cyc the attention units; one after the other, as layers are".into(),
        "  binds       ports: port cyc + KV cyc are more; units: engine cyc + attn cyc are more".into(),
        String::new(),
        format!(
            "{:<13}{:<7}{:>9}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}",
            "", "", "weights", "port", "engine", "tok/s", "KV bytes", "KV", "attn", "", "tok/s", "prefill"
        ),
        format!(
            "{:<13}{:<7}{:>9}{:>10}{:>10}{:>9}{:>9}{:>9}{:>9}{:>8}{:>9}{:>9}",
            "model",
            "form",
            "MB/token",
            "cyc",
            "cyc",
            "at 0",
            "/position",
            "cyc",
            "cyc",
            "binds",
            format!("at {context}"),
            "tok/s"
        ),
    ];
    out.extend(MODELS.iter().flat_map(|model| lines_of(machine, model)));
    out
}
