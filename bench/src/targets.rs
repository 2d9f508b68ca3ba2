//! What the README shows: results beside what was wanted and what others published for the same board.

use serde_json::Value;
use std::fmt::Write;

/// A line of the table.
struct Line {
    what: &'static str,
    /// Cases whose results stand beside each other.
    cases: &'static [&'static str],
    /// Milliseconds to the first token instead of tokens a second.
    first: bool,
    wanted: &'static str,
    published: &'static str,
}

const fn line(
    what: &'static str,
    cases: &'static [&'static str],
    wanted: &'static str,
    published: &'static str,
) -> Line {
    Line { what, cases, first: false, wanted, published }
}

const LINES: [Line; 19] = [
    line(
        "decode, 0.73B, exact head of five / four planes, tok/s",
        &["decode-0.73b-0", "decode-0.73b-4p-0"],
        "80",
        "25 TeLLMe v2, 27.8 PD-Swap",
    ),
    line("… shortlist head", &["decode-0.73b-shortlist-0"], "95", ""),
    line(
        "… after 512 tokens, five planes / four / shortlist",
        &["decode-0.73b-512", "decode-0.73b-4p-512", "decode-0.73b-shortlist-512"],
        "",
        "",
    ),
    line(
        "… after 1,024 tokens, likewise",
        &["decode-0.73b-1024", "decode-0.73b-4p-1024", "decode-0.73b-shortlist-1024"],
        "50",
        "",
    ),
    line(
        "… after 2,048 tokens, five planes / shortlist",
        &["decode-0.73b-2048", "decode-0.73b-shortlist-2048"],
        "",
        "more than 10 PD-Swap",
    ),
    line(
        "… Sherry weights, exact / shortlist head",
        &["decode-0.73b-sherry-0", "decode-0.73b-sherry-shortlist-0"],
        "115",
        "",
    ),
    line(
        "prompt of 64 / 128 / 512 tokens, 0.73B, tok/s",
        &["prefill-0.73b-64", "prefill-0.73b-128", "prefill-0.73b-512"],
        "1,000",
        "143 TeLLMe v2",
    ),
    Line {
        what: "… time to the first token, 64 / 128 tokens, ms",
        cases: &["prefill-0.73b-64", "prefill-0.73b-128"],
        first: true,
        wanted: "70 / 140",
        published: "450 / 960 TeLLMe v2",
    },
    line("8 sequences at once, 0.73B, tok/s in total", &["batch-0.73b-8x0"], "", ""),
    line(
        "decode, 2B-4T, exact head of five / four planes / shortlist head, tok/s",
        &["decode-2b4t-0", "decode-2b4t-4p-0", "decode-2b4t-shortlist-0"],
        "30",
        "18.57 bitnet-kv260",
    ),
    line(
        "… after 1,024 tokens, five planes / shortlist",
        &["decode-2b4t-1024", "decode-2b4t-shortlist-1024"],
        "",
        "15.4 bitnet-kv260 after 1,000",
    ),
    line(
        "… Sherry weights, exact / shortlist head",
        &["decode-2b4t-sherry-0", "decode-2b4t-sherry-shortlist-0"],
        "",
        "",
    ),
    line(
        "prompt of 64 tokens, 2B-4T, exact head of five / four planes / shortlist head, tok/s",
        &["prefill-2b4t-64", "prefill-2b4t-4p-64", "prefill-2b4t-shortlist-64"],
        "300",
        "28.8 bitnet-kv260",
    ),
    line("… of 128 / 512 tokens, five planes", &["prefill-2b4t-128", "prefill-2b4t-512"], "", ""),
    line("… of 64 tokens, Sherry weights, five planes", &["prefill-2b4t-sherry-64"], "", ""),
    line(
        "8 sequences at once, 2B-4T, head of five / four planes, tok/s in total",
        &["batch-2b4t-8x0", "batch-2b4t-4p-8x0"],
        "150",
        "23.75 bitnet-kv260, 2 sequences",
    ),
    line(
        "decode, Falcon3-1B, exact / shortlist head, tok/s",
        &["decode-falcon3-1b-0", "decode-falcon3-1b-shortlist-0"],
        "",
        "",
    ),
    line(
        "prompt of 64 / 128 / 512 tokens, Falcon3-1B, five planes, tok/s",
        &["prefill-falcon3-1b-64", "prefill-falcon3-1b-128", "prefill-falcon3-1b-512"],
        "",
        "",
    ),
    line("8 sequences at once, Falcon3-1B, five planes, tok/s in total", &["batch-falcon3-1b-8x0"], "", ""),
];

/// A number with one place behind the point, or with thousands apart.
fn plain(number: f64) -> String {
    let whole = number.round() as u64;
    match whole {
        1000.. => format!("{},{:03}", whole / 1000, whole % 1000),
        _ => format!("{number:.1}"),
    }
}

/// The table; results of an earlier RTL and missing ones are dashes.
pub fn table(rows: &[Value]) -> String {
    let mut out = String::from(
        "| on the KV260 preset, memory model `measured` | Tercet, simulated | wanted | published, measured |\n\
         |---|--:|--:|---|\n",
    );
    for line in &LINES {
        let value = |case: &&str| {
            let row = rows.iter().find(|row| row["case"] == **case && row["memory"] == "measured");
            let of = |key: &str| row.and_then(|row| row[key].as_f64());
            match line.first {
                true => of("ms").map_or("-".to_string(), |ms| format!("{ms:.0}")),
                false => of("tok_s").map_or("-".to_string(), plain),
            }
        };
        let values: Vec<String> = line.cases.iter().map(value).collect();
        let _ = writeln!(out, "| {} | {} | {} | {} |", line.what, values.join(" / "), line.wanted, line.published);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases;
    use serde_json::json;

    #[test]
    fn every_case_is_one_of_the_benchmark() {
        let names: Vec<String> = cases::all(false).iter().map(ToString::to_string).collect();
        for case in LINES.iter().flat_map(|line| line.cases) {
            assert!(names.iter().any(|name| name == case), "{case}");
        }
    }

    #[test]
    fn what_is_not_there_is_a_dash() {
        let row = json!({ "case": "prefill-0.73b-64", "memory": "measured", "tok_s": 1019.9, "ms": 62.75 });
        let table = table(&[row]);
        assert!(table.contains("| 1,020 / - / - | 1,000 |") && table.contains("| 63 / - | 70 / 140 |"), "{table}");
    }
}
