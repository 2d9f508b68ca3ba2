//! Energy, estimated: activity of the simulation times what another design on the same board was measured to need.
//!
//! bitnet-kv260 publishes 3.8 W for the idle module and 6.2 to 6.8 W while it streams 12.73 GB/s through 42,271 LUTs at
//! 250 MHz (its docs/measurements.md, INA260 on the module's supply). What lies between is memory and logic together,
//! nobody says how much each, so two bounds are given: all of it is memory traffic; or all of it is memory traffic and
//! the same again is logic, which grows with LUTs and with the share of cycles in which the engine works.

use serde_json::Value;
use std::fmt::Write;

/// Watts of the idle module.
const IDLE: f64 = 3.8;
/// Watts that came on top.
const ACTIVE: f64 = 6.5 - IDLE;
/// GB a second meanwhile.
const TRAFFIC: f64 = 12.73;
/// LUTs meanwhile.
const LUTS: f64 = 42_271.0;

/// Least and most watts of a result on a machine of so many LUTs.
pub fn watts(row: &Value, luts: f64) -> (f64, f64) {
    let number = |key: &str| row[key].as_f64().unwrap_or(0.0);
    let seconds = number("ms") / 1e3;
    let traffic = (number("bytes_read") + number("bytes_written")) / seconds.max(1e-9) / 1e9;
    let least = IDLE + ACTIVE * traffic / TRAFFIC;
    (least, least + ACTIVE * luts / LUTS * number("engine_share"))
}

/// The table of results that were measured with one memory model.
pub fn table(rows: &[Value], luts: f64) -> String {
    let mut out = String::from("| case | W of the module | tok/J |\n|---|--:|--:|\n");
    for row in rows.iter().filter(|row| row["memory"] == "measured") {
        let (least, most) = watts(row, luts);
        let rate = row["tok_s"].as_f64().unwrap_or(0.0);
        let case = row["case"].as_str().unwrap_or("");
        let _ = writeln!(out, "| {case} | {least:.1} to {most:.1} | {:.1} to {:.1} |", rate / most, rate / least);
    }
    out + "\nPublished for 0.73B on this board: TeLLMe v2 4.8 W, 5.2 tok/J in decode and 29.8 in prefill; PD-Swap 4.9 W, \
           5.67 tok/J. For 2B-4T: bitnet-kv260 6.2 to 6.8 W, 2.6 to 2.7 tok/J.\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_design_behind_the_figures_gives_them_back() {
        let row = json!({ "ms": 1000.0, "bytes_read": 12.73e9, "bytes_written": 0, "engine_share": 0.0 });
        let (least, most) = watts(&row, LUTS);
        assert!((least - 6.5).abs() < 1e-9 && (most - 6.5).abs() < 1e-9);
        let idle = json!({ "ms": 1000.0, "bytes_read": 0, "bytes_written": 0, "engine_share": 0.5 });
        assert_eq!(watts(&idle, 2.0 * LUTS), (IDLE, IDLE + ACTIVE));
    }
}
