//! Statistics for people and for scripts.

use super::model::Model;
use host::generate::Timings;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::time::Duration;

/// Milliseconds with three decimals.
pub fn ms(time: Duration) -> f64 {
    rounded(time.as_secs_f64() * 1e3, 3)
}

/// A number with so many decimals.
pub fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (value * unit).round() / unit
}

/// The statistics as JSON.
pub fn timings_json(load: Duration, t: &Timings) -> Value {
    let rate = |rate: Option<f64>| rate.map(|rate| rounded(rate, 2));
    json!({
        "load_ms": ms(load),
        "prompt_tokens": t.prompt_tokens,
        "prompt_ms": ms(t.prefill),
        "prompt_tok_s": rate(t.prompt_rate()),
        "ttft_ms": t.first_token.map(ms),
        "gen_tokens": t.new_tokens,
        "gen_ms": ms(t.total.saturating_sub(t.prefill)),
        "gen_tok_s": rate(t.decode_rate()),
        "itl_ms_p50": t.interval_percentile(50).map(ms),
        "itl_ms_p99": t.interval_percentile(99).map(ms),
        "total_ms": ms(t.total),
    })
}

/// What a model is, as JSON.
pub fn model_json(model: &Model) -> Value {
    json!({
        "path": model.path.display().to_string(),
        "family": model.config().name,
        "format": model.format,
        "context": model.config().max_context,
    })
}

/// Fields that every JSON answer begins with.
pub fn head_json(model: &Model, backend: &str, numerics: &str) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("version".into(), super::VERSION.into());
    map.insert("model".into(), model_json(model));
    map.insert("backend".into(), backend.into());
    map.insert("numerics".into(), numerics.into());
    map
}

/// The statistics as a short block.
pub fn stats_text(load: Duration, t: &Timings, finish: &str, seed: Option<u64>, backend: &str) -> String {
    let mut text = String::new();
    let rate = |rate: Option<f64>| rate.map_or(String::new(), |rate| format!("  {rate:.1} tok/s"));
    let _ = writeln!(text, "load     {:>8.0} ms", ms(load));
    let prefill = ms(t.prefill);
    let _ = writeln!(text, "prompt   {:>8.0} ms  {:>5} tokens{}", prefill, t.prompt_tokens, rate(t.prompt_rate()));
    let first = t.first_token.map_or("-".into(), |time| format!("{:.0}", ms(time)));
    let _ = writeln!(text, "first    {first:>8} ms  to the first token");
    let decode = ms(t.total.saturating_sub(t.prefill));
    let _ = writeln!(text, "decode   {:>8.0} ms  {:>5} tokens{}", decode, t.new_tokens, rate(t.decode_rate()));
    let seed = seed.map_or(String::new(), |seed| format!(", seed {seed}"));
    let _ = write!(text, "end      {finish}{seed}; {backend}");
    text
}
