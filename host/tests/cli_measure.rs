//! `host eval`, `perplexity` and `bench`.

mod support;
use serde_json::Value;
use support::{file, host, path_text};

#[test]
fn eval_writes_all_logits() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_text(&folder.path().join("out.safetensors"));
    let run = |numerics: &str| {
        let arguments = ["eval", "--ids", "5,6,7,8", "--numerics", numerics, "--logits", &path, "--json"];
        let json = host(&arguments).ok().json();
        let bytes = std::fs::read(&path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).expect("a safetensors file");
        let logits = tensors.tensor("logits").expect("the tensor");
        assert_eq!(logits.dtype(), safetensors::Dtype::F32);
        assert_eq!(logits.shape()[0], 4);
        let numbers: Vec<f32> =
            logits.data().chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
        (json, numbers, logits.shape()[1])
    };
    let (json, device, vocab) = run("device");
    let (_, float, _) = run("float");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_ne!(device, float);
    let mut total = 0.0;
    for position in 0..4 {
        let row = &device[position * vocab..][..vocab];
        let best = (0..vocab).fold(0, |best, i| if row[i] > row[best] { i } else { best });
        let told = &json["positions"][position];
        assert_eq!(told["top1"], best);
        if position < 3 {
            let sum: f64 = row.iter().map(|&l| f64::from(l).exp()).sum();
            let nll = sum.ln() - f64::from(row[6 + position]);
            assert!((told["nll"].as_f64().unwrap() - nll).abs() < 1e-9);
            total += nll;
        } else {
            assert_eq!(told["nll"], Value::Null);
        }
    }
    assert!((json["nll"].as_f64().unwrap() - total / 3.0).abs() < 1e-9);
    let text = host(&["eval", "--text", "Once upon a time"]).ok().stdout;
    assert!(text.contains("perplexity"), "{text}");
}

#[test]
fn the_cpu_backend_computes_the_bits_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let text = "Once upon a time there was a fox who liked the moon, and the moon liked the fox.";
    let logits = |backend: &str, threads: &str| {
        let path = path_text(&folder.path().join("out.safetensors"));
        let arguments = ["eval", "--text", text, "--backend", backend, "-t", threads, "--logits", &path];
        host(&arguments).ok();
        std::fs::read(&path).unwrap()
    };
    let want = logits("reference", "1");
    assert!(want == logits("cpu", "1") && want == logits("cpu", "2"), "logits differ");
    for sampling in [&["--greedy"][..], &["-s", "9"]] {
        let ids = |backend: &str| {
            let base = ["generate", "The fox", "-n", "40", "--json", "--backend", backend];
            host(&[&base[..], sampling].concat()).ok().json()["ids"].clone()
        };
        assert_eq!(ids("reference"), ids("cpu"), "{sampling:?}");
    }
}

#[test]
fn perplexity_compares_both_numerics() {
    let folder = tempfile::tempdir().unwrap();
    let story = "Once upon a time, there was a little boy. He had a red ball. He liked to play with it.\n";
    let text = file(&folder, "text.txt", format!("{story}\n<|endoftext|>\n{story}<|endoftext|>\n{story}"));
    let arguments = ["perplexity", "-f", &text, "--numerics", "both", "--json"];
    let halved = host(&[&arguments[..], &["-c", "16"]].concat()).ok().json();
    let windows = halved["windows"].as_u64().unwrap();
    assert_eq!(halved["scored_tokens"].as_u64(), Some(windows * 7));
    let perplexity = |value: &Value, name: &str| value["numerics"][name]["perplexity"].as_f64().unwrap();
    let (float, device) = (perplexity(&halved, "float"), perplexity(&halved, "device"));
    assert!((halved["difference_percent"].as_f64().unwrap() - 100.0 * (device / float - 1.0)).abs() < 1e-9);
    assert!((device / float - 1.0).abs() < 0.05, "{float} {device}");
    assert!(halved["top1_agreement"].as_f64().unwrap() > 0.7);
    let documents = host(&[&arguments[..], &["--per-document"]].concat()).ok().json();
    assert_eq!(documents["windows"], 3);
    assert!(perplexity(&documents, "float") > 1.0);
    // one document alone scores what it scores among others: the three are the same
    let single = file(&folder, "single.txt", story);
    let one = host(&["perplexity", "-f", &single, "--per-document", "--json"]).ok().json();
    assert!((perplexity(&one, "device") - perplexity(&documents, "device")).abs() < 1e-9);
    // the number of threads that share the work changes nothing
    let threads = |n: &str| {
        host(&["perplexity", "-f", &text, "-c", "8", "--json", "-t", n]).ok().json()["numerics"]["device"]["nll"]
            .clone()
    };
    assert_eq!(threads("1"), threads("2"));
}

#[test]
fn bench_has_llama_bench_rows() {
    let arguments = ["bench", "-p", "8", "-n", "4", "-d", "0,6", "-r", "2"];
    let rows = host(&[&arguments[..], &["--json"]].concat()).ok().json();
    let names: Vec<&str> = rows.as_array().unwrap().iter().map(|row| row["test"].as_str().unwrap()).collect();
    assert_eq!(names, ["pp8", "tg4", "pp8 @ d6", "tg4 @ d6"]);
    for row in rows.as_array().unwrap() {
        assert!(row["tok_s"].as_f64().unwrap() > 0.0);
        assert_eq!((&row["evidence"], row["samples_tok_s"].as_array().map(Vec::len)), (&"measured".into(), Some(2)));
        assert_eq!(row["ttft_ms"].is_number(), row["n_prompt"] != 0);
        assert_eq!(row["itl_ms_p50"].is_number(), row["n_gen"] != 0);
    }
    let table = host(&arguments).ok().stdout;
    assert_eq!(table.lines().filter(|line| line.starts_with("| tercet")).count(), 4, "{table}");
    let csv = host(&[&arguments[..], &["-o", "csv"]].concat()).ok().stdout;
    assert_eq!(csv.lines().count(), 5);
    let lines = host(&[&arguments[..], &["-o", "jsonl"]].concat()).ok().stdout;
    assert!(lines.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}
