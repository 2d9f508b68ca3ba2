//! Results as pictures: a roofline, and a layer over time.

use crate::plan::PHASES;
use serde_json::Value;
use std::fmt::Write;

const INK: &str = "#333";
const FAINT: &str = "#ccc";
/// Fill of each phase.
const FILLS: [&str; PHASES.len()] = [
    "#bbbbbb", "#ccbb44", "#4477aa", "#ddcc77", "#ee6677", "#ccbb44", "#66aacc", "#ccbb44", "#228833", "#ccbb44",
    "#44aa99", "#ccbb44", "#aa3377",
];
/// Units as rows of the timeline: name, bit of a wait mask.
const UNITS: [(&str, u32); 6] =
    [("embedding", 0), ("quantiser", 1), ("engine", 2), ("epilogue", 3), ("attention", 4), ("cache write", 5)];

fn svg(width: u32, height: u32, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{width}\" height=\"{height}\" fill=\"white\"/>\n{body}</svg>\n"
    )
}

fn label(x: f64, y: f64, anchor: &str, fill: &str, text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    format!("<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{fill}\">{text}</text>\n")
}

fn line(x: [f64; 2], y: [f64; 2], stroke: &str, dash: &str) -> String {
    format!(
        "<line x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{stroke}\" stroke-dasharray=\"{dash}\"/>\n",
        x[0], x[1], y[0], y[1]
    )
}

/// What a machine could do at most.
#[derive(Clone, Copy, Debug)]
pub struct Roof {
    /// Multiply-adds a second with all slots in use, in G.
    pub peak: f64,
    /// The same for one slot.
    pub one: f64,
    /// GB a second of all ports.
    pub memory: f64,
}

/// Multiply-adds a second over multiply-adds a byte, both on a logarithmic scale.
pub fn roofline(rows: &[Value], memory: &str, roof: Roof) -> String {
    let (width, height, left, right, top, bottom) = (760.0, 440.0, 70.0, 230.0, 40.0, 50.0);
    let (x0, x1) = (1f64, 100f64);
    let (y0, y1) = (10f64, 1500f64);
    let x = |v: f64| left + (v / x0).ln() / (x1 / x0).ln() * (width - left - right);
    let y = |v: f64| height - bottom - (v / y0).ln() / (y1 / y0).ln() * (height - top - bottom);
    let mut body =
        label(left, 22.0, "start", INK, &format!("Roofline, preset kv260, memory model {memory} (simulated)"));
    for v in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0] {
        body += &line([x(v); 2], [y(y0), y(y1)], FAINT, "");
        body += &label(x(v), height - bottom + 18.0, "middle", INK, &format!("{v}"));
    }
    for v in [10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0] {
        body += &line([x(x0), x(x1)], [y(v); 2], FAINT, "");
        body += &label(left - 8.0, y(v) + 4.0, "end", INK, &format!("{v}"));
    }
    body += &label(x(10.0), height - 12.0, "middle", INK, "multiply-adds a byte read");
    let _ = write!(
        body,
        "<text transform=\"translate(18 {:.1}) rotate(-90)\" text-anchor=\"middle\" fill=\"{INK}\">G multiply-adds a second</text>\n",
        (y(y0) + y(y1)) / 2.0
    );
    for (peak, name) in [(roof.peak, "all slots"), (roof.one, "one slot")] {
        let knee = (peak / roof.memory).clamp(x0, x1);
        body += &line([x(knee), x(x1)], [y(peak); 2], INK, "");
        body += &label(x(x1) - 4.0, y(peak) - 5.0, "end", INK, &format!("{name}: {peak:.0} G/s"));
    }
    let knee = (roof.peak / roof.memory).clamp(x0, x1);
    body +=
        &line([x(x0.max(y0 / roof.memory)), x(knee)], [y((x0 * roof.memory).max(y0)), y(knee * roof.memory)], INK, "");
    body += &label(x(2.0), y(2.0 * roof.memory) - 8.0, "end", INK, &format!("{:.1} GB/s", roof.memory));
    let chosen: Vec<&Value> = rows.iter().filter(|row| row["memory"] == memory).collect();
    for (at, row) in chosen.iter().enumerate() {
        let (cycles, mhz) = (row["cycles"].as_f64().unwrap_or(1.0), row["mhz"].as_f64().unwrap_or(1.0));
        let (work, bytes) = (row["multiply_adds"].as_f64().unwrap_or(0.0), row["bytes_read"].as_f64().unwrap_or(1.0));
        let speed = work / cycles * mhz / 1e3;
        let fill = FILLS[match row["kind"].as_str() {
            Some("decode") => 2,
            Some("prefill") => 8,
            _ => 4,
        }];
        let (px, py) = (x((work / bytes).clamp(x0, x1)), y(speed.clamp(y0, y1)));
        let _ = writeln!(body, "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"5\" fill=\"{fill}\"/>");
        body += &label(px + 7.0, py + 4.0, "start", INK, &format!("{}", at + 1));
        let row_y = top + 12.0 + 15.0 * at as f64;
        let name = row["case"].as_str().unwrap_or("");
        body += &label(width - right + 12.0, row_y, "start", INK, &format!("{} {name}", at + 1));
    }
    svg(width as u32, (height as u32).max(70 + 15 * chosen.len() as u32), &body)
}

/// A layer of a case over time: phases, units, ports.
pub fn timeline(row: &Value) -> Option<String> {
    let spans: Vec<[f64; 5]> = row["timeline"]
        .as_array()?
        .iter()
        .filter_map(|s| Some([0, 1, 2, 3, 4].map(|at| s[at].as_f64().unwrap_or(0.0))))
        .collect();
    let (first, last) = (spans.first()?[0], spans.last()?[1]);
    let ports = row["port_share"].as_array().map_or(1, Vec::len) as f64;
    let (width, left, top, step) = (980.0, 100.0, 60.0, 26.0);
    let x = |cycle: f64| left + (cycle - first) / (last - first).max(1.0) * (width - left - 20.0);
    let name = |key: &str| row[key].as_str().unwrap_or("").to_string();
    let title = format!(
        "One layer of {}, memory model {} (simulated): {:.0} cycles",
        name("case"),
        name("memory"),
        last - first
    );
    let mut body = label(left, 22.0, "start", INK, &title);
    let rows: Vec<&str> = ["phase"].into_iter().chain(UNITS.map(|u| u.0)).chain(["ports"]).collect();
    for (at, name) in rows.iter().enumerate() {
        body += &label(left - 8.0, top + step * at as f64 + 15.0, "end", INK, name);
    }
    let bar = |at: usize, from: f64, to: f64, fill: &str, share: f64| {
        let height = (step - 6.0) * share;
        format!(
            "<rect x=\"{:.2}\" y=\"{:.2}\" width=\"{:.2}\" height=\"{height:.2}\" fill=\"{fill}\"/>\n",
            x(from),
            top + step * at as f64 + (step - 6.0) - height,
            (x(to) - x(from)).max(0.1)
        )
    };
    let mut joined: Vec<(usize, f64, f64, String)> = Vec::new();
    let mut add = |at: usize, from: f64, to: f64, fill: &str| match joined.iter_mut().rev().find(|j| j.0 == at) {
        Some(last) if last.2 == from && last.3 == fill => last.2 = to,
        _ => joined.push((at, from, to, fill.to_string())),
    };
    for [from, to, phase, busy, _] in &spans {
        add(0, *from, *to, FILLS[(*phase as usize).min(PHASES.len() - 1)]);
        for (at, (_, bit)) in UNITS.iter().enumerate().filter(|(_, (_, bit))| (*busy as u32) >> bit & 1 == 1) {
            let _ = bit;
            add(at + 1, *from, *to, "#777777");
        }
    }
    for (at, from, to, fill) in &joined {
        body += &bar(*at, *from, *to, fill, 1.0);
    }
    for [from, to, _, _, beats] in &spans {
        body += &bar(rows.len() - 1, *from, *to, "#4477aa", (beats / (to - from).max(1.0) / ports).min(1.0));
    }
    let mut seen: Vec<usize> = spans.iter().map(|s| s[2] as usize).collect();
    seen.sort_unstable();
    seen.dedup();
    let mut at = left;
    let bottom = top + step * rows.len() as f64 + 8.0;
    for phase in seen {
        let name = PHASES[phase.min(PHASES.len() - 1)];
        let _ = writeln!(
            body,
            "<rect x=\"{at:.1}\" y=\"{bottom:.1}\" width=\"10\" height=\"10\" fill=\"{}\"/>",
            FILLS[phase]
        );
        body += &label(at + 14.0, bottom + 10.0, "start", INK, name);
        at += 30.0 + 7.0 * name.len() as f64;
    }
    Some(svg(width as u32, (bottom + 30.0) as u32, &body))
}
