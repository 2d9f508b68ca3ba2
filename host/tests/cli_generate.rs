//! `host generate`: texts, formats, seeds, stop strings, batches.

mod support;
use serde_json::Value;
use support::{command, file, finish, host, host_with_input};

/// Ids of a JSON answer.
fn ids(value: &Value) -> Vec<u64> {
    value["ids"].as_array().expect("ids").iter().map(|id| id.as_u64().expect("a number")).collect()
}

/// The shipped model's texts, character by character. `TERCET_BLESS=1 cargo test -p host --test
/// cli_generate` writes the file anew after the model has changed.
#[test]
fn the_shipped_model_writes_the_blessed_texts() {
    let cases: [&[&str]; 4] = [
        &["generate", "Once upon a time", "--greedy", "-n", "48"],
        &["generate", "Once upon a time", "-n", "48"],
        &["generate", "The little fox", "-s", "7", "-n", "48"],
        &["generate", "-p", "One day, a girl", "--temp", "1.2", "--repeat-penalty", "1.1", "-s", "3", "-n", "48"],
    ];
    let mut found = String::new();
    for case in cases {
        let run = host(&[case, &["-q"]].concat()).ok();
        assert_eq!(run.stderr, "");
        found += &format!("$ host {}\n{}", case.join(" "), run.stdout);
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/shipped.txt");
    if std::env::var_os("TERCET_BLESS").is_some() {
        std::fs::write(path, &found).expect("the golden file");
    }
    let golden = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(found, golden, "if the model has changed: TERCET_BLESS=1 cargo test -p host --test cli_generate");
}

#[test]
fn standard_output_is_the_text_and_nothing_else() {
    let arguments = ["generate", "Once upon a time", "--greedy", "-n", "12"];
    let run = host(&arguments).ok();
    assert!(run.stdout.starts_with("Once upon a time") && run.stdout.ends_with('\n'), "{:?}", run.stdout);
    assert_eq!(run.stdout.lines().count(), 1);
    for word in ["load", "prompt", "first", "decode", "tok/s", "end      length"] {
        assert!(run.stderr.contains(word), "{}", run.stderr);
    }
    let bare = host(&[&arguments[..], &["--no-display-prompt", "--no-stats"]].concat()).ok();
    assert_eq!(bare.stderr, "");
    assert_eq!(format!("Once upon a time{}", bare.stdout), run.stdout);
    assert_eq!(host(&[&arguments[..], &["-q", "--stats"]].concat()).ok().stdout, run.stdout);
}

#[test]
fn prompts_come_from_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "prompt.txt", "Once upon a time\n");
    let options = ["--greedy", "-n", "6", "-q"];
    let want = host(&[&["generate", "Once upon a time"], &options[..]].concat()).ok().stdout;
    for arguments in [
        &["run", "Once", "upon", "a", "time"][..],
        &["generate", "-p", "Once upon a time"],
        &["generate", "-f", &path],
        &["generate", "-e", "-p", "Once\\x20upon a time"],
    ] {
        assert_eq!(host(&[arguments, &options].concat()).ok().stdout, want, "{arguments:?}");
    }
    let piped = [&["generate"], &options[..]].concat();
    assert_eq!(host_with_input(&piped, b"Once upon a time\n").ok().stdout, want);
    let dash = [&["generate", "-f", "-"], &options[..]].concat();
    assert_eq!(host_with_input(&dash, b"Once upon a time").ok().stdout, want);
    let json = host(&["generate", "Once upon a time", "--greedy", "-n", "6", "--json"]).ok().json();
    let prompt: Vec<String> = json["prompt_ids"].as_array().unwrap().iter().map(Value::to_string).collect();
    let by_ids = host(&["generate", "--ids", &prompt.join(","), "--greedy", "-n", "6", "--json"]).ok().json();
    assert_eq!(by_ids["ids"], json["ids"]);
}

#[test]
fn json_is_one_object_with_everything() {
    let run = host(&["generate", "Once upon a time", "--json", "-n", "9", "-s", "5"]).ok();
    assert_eq!(run.stderr, "");
    let json = run.json();
    assert_eq!(ids(&json).len(), 9);
    assert_eq!(json["prompt"], "Once upon a time");
    assert_eq!(json["finish_reason"], "length");
    assert_eq!(json["seed"], 5);
    assert_eq!(json["settings"]["temp"], 0.8);
    assert_eq!(json["numerics"], "device");
    for key in
        ["load_ms", "prompt_tokens", "prompt_tok_s", "ttft_ms", "gen_tokens", "gen_tok_s", "itl_ms_p50", "itl_ms_p99"]
    {
        assert!(json["timings"][key].is_number(), "{key}: {}", json["timings"]);
    }
    let text = host(&["generate", "Once upon a time", "-n", "9", "-s", "5", "-q", "--no-display-prompt"]).ok();
    assert_eq!(format!("{}\n", json["text"].as_str().unwrap()), text.stdout);
    let lines = host(&["generate", "Once upon a time", "--format", "jsonl", "-n", "9", "-s", "5"]).ok();
    let lines: Vec<Value> = lines.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 10);
    let pieces: String = lines[..9].iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert!(json["text"].as_str().unwrap().starts_with(&pieces));
    assert_eq!(lines[9]["ids"], json["ids"]);
}

#[test]
fn the_seed_decides_the_text() {
    let run = |seed: &str| host(&["generate", "Once upon a time", "-n", "24", "-q", "-s", seed]).ok().stdout;
    assert_eq!(run("11"), run("11"));
    assert_ne!(run("11"), run("12"));
    let drawn = host(&["generate", "Once upon a time", "-n", "4", "--json", "-s", "-1"]).ok().json();
    assert!(drawn["seed"].as_u64().unwrap() <= u64::from(u32::MAX));
    let again = host(&["generate", "Once upon a time", "-n", "4", "--json", "-s", &drawn["seed"].to_string()]).ok();
    assert_eq!(again.json()["ids"], drawn["ids"]);
}

#[test]
fn stop_strings_may_span_tokens() {
    let base = ["generate", "Once upon a time", "--greedy", "-n", "24"];
    let whole = host(&[&base[..], &["--json"]].concat()).ok().json();
    let text = whole["text"].as_str().unwrap();
    let pieces = host(&[&base[..], &["--format", "jsonl"]].concat()).ok();
    let pieces: Vec<Value> = pieces.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let piece = |i: usize| pieces[i]["text"].as_str().unwrap();
    let (left, right) = (piece(4).chars().last().unwrap(), piece(5).chars().next().unwrap());
    let stop = format!("{left}{right}");
    let want = &text[..text.find(&stop).expect("the pieces are in the text")];
    let run = host(&[&base[..], &["--json", "-r", "never in it", "--stop", &stop]].concat()).ok().json();
    assert_eq!(run["text"], want);
    assert_eq!((&run["finish_reason"], &run["stop"]), (&"stop_string".into(), &stop.as_str().into()));
    let shown = host(&[&base[..], &["-q", "--no-display-prompt", "--reverse-prompt", &stop]].concat()).ok();
    assert_eq!(shown.stdout, format!("{want}\n"));
}

#[test]
fn a_batch_yields_what_single_runs_yield() {
    let folder = tempfile::tempdir().unwrap();
    let prompts = ["Once upon a time", "The fox", "One day there was a small boy who", "A"];
    let path = file(&folder, "prompts.txt", prompts.join("\n") + "\n\n");
    let batch = host(&["generate", "--prompts-file", &path, "-n", "10", "--json"]).ok().json();
    for (index, prompt) in prompts.iter().enumerate() {
        let single = host(&["generate", "-p", prompt, "-n", "10", "--json"]).ok().json();
        for key in ["ids", "text", "prompt_ids", "finish_reason"] {
            assert_eq!(batch["results"][index][key], single[key], "{prompt}: {key}");
        }
    }
    let copies = host(&["generate", "The fox", "--batch", "3", "-s", "4", "-n", "10", "--json"]).ok().json();
    for copy in 0..3 {
        let seed = (4 + copy).to_string();
        let single = host(&["generate", "The fox", "-s", &seed, "-n", "10", "--json"]).ok().json();
        assert_eq!(copies["results"][copy]["ids"], single["ids"]);
    }
    let text = host(&["generate", "--prompts-file", &path, "-n", "3", "-q"]).ok().stdout;
    let texts: Vec<&str> = text.split("<|endoftext|>\n").collect();
    assert_eq!(texts.len(), 4);
    assert!(texts.iter().zip(prompts).all(|(text, prompt)| text.starts_with(prompt)));
}

#[test]
fn texts_end_where_they_should() {
    let run = |arguments: &[&str]| host(&[&["generate", "Once upon a time", "--json"], arguments].concat());
    assert!(ids(&run(&["-n", "0"]).ok().json()).is_empty());
    let full = run(&["-n", "-1", "-c", "16", "--ignore-eos"]).ok().json();
    assert_eq!(full["finish_reason"], "context");
    let prompt = full["prompt_ids"].as_array().unwrap().len();
    assert_eq!(prompt + ids(&full).len(), 17);
    let late = run(&["-n", "-1", "--ignore-eos", "--backend", "reference", "--timeout", "0.05"]).code;
    assert_eq!(late, Some(74));
}

#[test]
fn the_model_may_come_from_the_environment() {
    let mut named = command(&["generate", "x", "-n", "1"]);
    named.env("TERCET_MODEL", "/nonexistent/model");
    finish(named).fails(66, "/nonexistent/model");
}

/// SentencePiece drops the space of a text's first word, but not that of a continuation.
#[test]
fn a_continuation_keeps_its_first_space() {
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/gguf/valid-sentencepiece");
    let run = |arguments: &[&str]| host(&[&["generate", "-m", model, "--json"], arguments].concat()).ok().json();
    let decoded = |ids: &[String]| run(&["--ids", &ids.join(","), "-n", "0"])["prompt"].as_str().unwrap().to_string();
    let options = ["--temp", "100", "--top-k", "0", "--top-p", "1", "--min-p", "0"];
    let batch = run(&[&["the cat", "-n", "1", "--batch", "500"][..], &options].concat());
    let texts = batch["results"].as_array().unwrap();
    let spaced: Vec<_> = texts.iter().filter(|one| one["text"].as_str().unwrap().starts_with(' ')).collect();
    assert!(!spaced.is_empty(), "no continuation began with a space");
    for one in spaced {
        let ids = |key: &str| one[key].as_array().unwrap().iter().map(|id| id.to_string()).collect::<Vec<_>>();
        let (before, whole) = (decoded(&ids("prompt_ids")), decoded(&[ids("prompt_ids"), ids("ids")].concat()));
        assert_eq!(format!("{before}{}", one["text"].as_str().unwrap()), whole);
    }
}
