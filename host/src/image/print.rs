//! [`Inspection`] as text for people.

use super::inspect::Inspection;
use std::fmt;

impl fmt::Display for Inspection {
    /// A table of lines `what: value`; with `{:#}` also every section.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &str| match &self.config[key] {
            serde_json::Value::String(text) => text.escape_debug().to_string(),
            serde_json::Value::Object(map) => map.keys().next().cloned().unwrap_or_default(),
            other => other.to_string(),
        };
        let mut line = |what: &str, value: String| writeln!(f, "{what:<18} {value}");
        line("file", format!("{} (format {}, {})", self.file.escape_debug(), self.format_version, size(self.bytes)))?;
        line("hash", self.hash.clone())?;
        line("model", format!("{}, {} layers, context {}", text("name"), text("layers"), text("max_context")))?;
        let widths = format!("hidden {}, ffn {}, vocab {}", text("hidden"), text("ffn"), text("vocab"));
        line("widths", widths)?;
        let (heads, kv, dim) = (text("heads"), text("kv_heads"), text("head_dim"));
        line("attention", format!("{heads} heads, {kv} of keys and values, {dim} wide"))?;
        let rope = format!("base {}, scaling {}", text("rope_theta"), text("rope_scaling"));
        line("positions", rope)?;
        line("activation", format!("{}, inputs {}", text("activation"), text("act_quant")))?;
        let w = &self.weights;
        let share = format!("{:.3} bits each with scales, {:.1} % zero", w.bits_per_weight, 100.0 * w.zero_fraction);
        line("ternary weights", format!("{}, {share}", w.count))?;
        let list = |map: Vec<(String, usize)>| {
            map.iter().map(|(name, n)| format!("{name} ({n})")).collect::<Vec<_>>().join(", ")
        };
        line("encoding", list(w.encodings.iter().map(|(name, n)| (name.to_string(), *n)).collect()))?;
        line("scales", list(w.scales.clone().into_iter().collect()))?;
        if w.biases + w.input_norms > 0 {
            line("extras", format!("{} biases, {} input norms", w.biases, w.input_norms))?;
        }
        line("head", if self.tied_head { "the embedding".into() } else { "its own".into() })?;
        for part in &self.parts {
            line(part.name, size(part.bytes))?;
        }
        let m = &self.memory;
        line("read per token", size(m.bytes_per_token))?;
        line("keys, values", format!("{} a position", size(m.kv_bytes_per_position)))?;
        let fits = [256u64, 512, 1024, 2048, 4096].map(|mib| match m.context_within(mib << 20) {
            0 => format!("{mib} MiB: no"),
            tokens => format!("{mib} MiB: {tokens}"),
        });
        line("context in", fits.join(", "))?;
        match &self.tokenizer {
            None => line("tokenizer", "none".into())?,
            Some(tokenizer) => {
                let entries = tokenizer.entries.map_or(String::new(), |entries| format!("{entries} entries, "));
                line("tokenizer", format!("{entries}{}", size(tokenizer.bytes as u64)))?;
                let names = tokenizer.chat_templates.join(", ").escape_debug().to_string();
                line("chat templates", if names.is_empty() { "none".into() } else { names })?;
                line("stop tokens", format!("{:?}", tokenizer.stop))?;
            }
        }
        if let Some(origin) = &self.origin {
            let files: Vec<String> = origin.files.iter().map(|file| file.name.escape_debug().to_string()).collect();
            line("packed from", format!("{}: {}", origin.format.escape_debug(), files.join(", ")))?;
        }
        if f.alternate() {
            writeln!(f, "\n{:>12} {:>12} {:>8} section", "offset", "bytes", "crc32c")?;
            for s in &self.sections {
                writeln!(f, "{:>12} {:>12} {:>8} {} {}", s.offset, s.bytes, s.crc32c, s.name, s.content)?;
            }
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
