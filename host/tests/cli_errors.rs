//! Every bad input: its exit code, one line that says what is wrong, nothing left behind.

mod support;
use std::process::Command;
use support::{copy_without, file, finish, host, host_with_input, path_text};

#[test]
fn wrong_use_is_exit_2() {
    for (arguments, text) in [
        (&["generate", "x", "--no-such-flag"][..], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["generate", "x", "--temp", "inf"], "--temp = inf: expected 0"),
        (&["generate", "x", "--temp", "nan"], "--temp = NaN"),
        (&["generate", "x", "--top-p", "0"], "--top-p = 0"),
        (&["generate", "x", "--min-p", "2"], "--min-p = 2"),
        (&["generate", "x", "--repeat-penalty", "0"], "--repeat-penalty = 0"),
        (&["generate", "x", "--repeat-last-n", "-2"], "--repeat-last-n = -2"),
        (&["generate", "x", "-s", "-2"], "--seed = -2"),
        (&["generate", "x", "-n", "-2"], "--n-predict = -2"),
        (&["generate", "x", "-c", "100000"], "--ctx-size = 100000: expected at most"),
        (&["generate", "x", "-t", "0"], "--threads = 0"),
        (&["generate", "x", "-p", "y"], "cannot be used with"),
        (&["generate", "x", "--timeout", "-1"], "--timeout"),
        (&["generate", "--ids", "1,x"], "\"x\" is no token id"),
        (&["generate", "x", "--backend", "cpu", "--numerics", "float"], "--backend cpu computes"),
        (&["generate", "x", "--chat-template", "nonsense"], "nonsense"),
        (&["generate", "x", "--device", "/dev/null"], "--device /dev/null: only for FPGA backends"),
        (&["generate", "x", "--head", "shortlist"], "--head shortlist is for accelerators"),
        (&["eval"], "--ids"),
        (&["bench", "-p", "100000"], "pp100000"),
        (&["bench", "-p", "0", "-n", "0"], "no tests"),
        (&["bench", "-p", "18446744073709551615", "-d", "1", "-n", "0"], "needs more tokens than the context"),
        (&["bench", "-n", "18446744073709551615", "-d", "1", "-p", "0"], "needs more tokens than the context"),
        (&["generate", "x", "--batch", "0"], "1..=1024"),
        (&["generate", "x", "--batch", "1025"], "1..=1024"),
        (&["generate", "x", "-b", "2"], "-b"),
        (&["generate", "--ids", "1", "--chat-template", "chatml"], "cannot be used with"),
        (&["generate", "--ids", "1", "--chat-template", "chatml", "--system", "x"], "cannot be used with"),
        (&["perplexity", "-f", "x", "--chunks", "0"], "--chunks"),
        (&["generate", "x", "-cnv"], "host chat"),
        (&["chat", "-st"], "host generate"),
    ] {
        host(arguments).fails(2, text);
    }
}

#[test]
fn no_command_prints_the_help_as_an_error() {
    let run = host(&[]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    assert!(run.stderr.contains("Usage: host") && run.stderr.contains("generate"), "{}", run.stderr);
}

#[test]
fn values_of_llama_cpp_mean_the_same_here() {
    let run = |arguments: &[&str]| host(&[&["generate", "The fox", "-n", "8", "-q"], arguments].concat()).ok().stdout;
    assert_eq!(run(&["--temp", "-1", "-c", "0"]), run(&["--greedy"]));
    assert_eq!(run(&["--top-k", "-1"]), run(&["--top-k", "0"]));
    let noted = host(&["generate", "The fox", "-n", "1", "-no-cnv", "-ngl", "99"]).ok();
    assert!(noted.stderr.contains("note: -ngl: ignored"), "{}", noted.stderr);
}

#[test]
fn a_late_answer_in_a_script_is_exit_74() {
    let arguments = ["chat", "-q", "-n", "-1", "--ignore-eos", "--backend", "reference", "--timeout", "0.05"];
    host_with_input(&arguments, b"Once upon a time\n").fails(74, "--timeout");
    let texts = ["generate", "x", "--batch", "1024", "--backend", "reference", "--timeout", "0"];
    host(&texts).fails(74, "--timeout");
}

#[test]
fn inputs_that_are_not_there_are_exit_66() {
    let folder = tempfile::tempdir().unwrap();
    let (path, empty) = (path_text(folder.path()), file(&folder, "empty", ""));
    let text = file(&folder, "notes.txt", "just some notes, no model");
    for (arguments, text) in [
        (&["generate", "-f", "/nonexistent/prompt.txt"][..], "/nonexistent/prompt.txt"),
        (&["generate", "-f", &path], "is a directory"),
        (&["generate", "--prompts-file", "/nonexistent"], "/nonexistent"),
        (&["generate", "x", "-m", "/nonexistent/model"], "/nonexistent/model"),
        (&["generate", "x", "-m", &path], "config.json"),
        (&["generate", "x", "-m", &empty], "empty"),
        (&["generate", "x", "-m", &text], "is no model"),
        (&["perplexity", "-f", "/nonexistent"], "/nonexistent"),
        (&["inspect", "/nonexistent"], "/nonexistent"),
        (&["pack", "/nonexistent", "-o", "/tmp/never.tercet"], "/nonexistent"),
    ] {
        host(arguments).fails(66, text);
    }
    let bare = copy_without(&["tokenizer.json"]);
    let bare = path_text(bare.path());
    host(&["generate", "x", "-m", &bare]).fails(66, "has no tokenizer");
    host(&["chat", "-m", &bare]).fails(66, "has no tokenizer");
    host(&["eval", "--ids", "1,2", "-m", &bare]).ok();
    let run = host(&["generate", "--ids", "1,2", "-m", &bare, "-n", "2", "--json"]).ok();
    assert_eq!(run.json()["ids"].as_array().map(Vec::len), Some(2));
}

#[test]
fn bad_data_is_exit_65() {
    let folder = tempfile::tempdir().unwrap();
    let latin1 = file(&folder, "latin1.txt", b"caf\xe9 au lait");
    let short = file(&folder, "short.txt", "Too short.");
    let blank = file(&folder, "blank.txt", "\n\n");
    let long = "word ".repeat(600);
    for (arguments, text) in [
        (&["generate", "-f", &latin1][..], "byte 3 is not UTF-8"),
        (&["perplexity", "-f", &latin1], "is not UTF-8"),
        (&["generate", "-e", "-p", "\\xff"], "UTF-8"),
        (&["generate", "--ids", "1,99999"], "token id 99999: expected less than the vocabulary's"),
        (&["eval", "--ids", "99999"], "token id 99999"),
        (&["eval", "--text", &long], "do not fit the context"),
        (&["generate", &long], "do not fit the context"),
        (&["generate", "a b c d e f g h", "-c", "4"], "do not fit the context of 4"),
        (&["generate", "--ids", ""], "no tokens"),
        (&["generate", "--prompts-file", &blank], "no prompts"),
        (&["perplexity", "-f", &short], "expected at least one window"),
        (&["generate", "x", "--chat-template", "auto"], "no chat template"),
    ] {
        host(arguments).fails(65, text);
    }
    host_with_input(&["generate"], b"\xc3(").fails(65, "standard input: byte 0 is not UTF-8");
    host_with_input(&["chat", "-q"], b"\xc3(\n").fails(65, "not UTF-8");
    let damaged = copy_without(&["model.safetensors"]);
    let bytes = std::fs::read(support::shipped().join("model.safetensors")).unwrap();
    file(&damaged, "model.safetensors", &bytes[..bytes.len() - 1000]);
    host(&["generate", "x", "-m", &path_text(damaged.path())]).fails(65, "model.safetensors");
    // finite scales, but so large that everything after them is not
    let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let mut huge = bytes.clone();
    let text = String::from_utf8_lossy(&bytes[8..header]).into_owned();
    let tensors: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (name, tensor) in tensors.as_object().unwrap() {
        if name.ends_with("weight_scale") {
            let at = header + tensor["data_offsets"][0].as_u64().unwrap() as usize;
            huge[at..at + 4].copy_from_slice(&3e38f32.to_le_bytes());
        }
    }
    file(&damaged, "model.safetensors", &huge);
    host(&["generate", "x", "-n", "2", "-m", &path_text(damaged.path())]).fails(65, "the model's data");
    file(&damaged, "config.json", "{");
    host(&["inspect", &path_text(damaged.path())]).fails(65, "config.json");
}

#[test]
fn boards_that_are_not_there_are_exit_69() {
    for (backend, text) in [("axi", "u-dma-buf"), ("xdma", "null_h2c_0")] {
        host(&["generate", "x", "--backend", backend, "--device", "/dev/null"]).fails(69, text);
    }
}

#[test]
fn outputs_that_cannot_be_written_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let model = path_text(&support::shipped());
    let path = path_text(folder.path());
    let missing = format!("{path}/missing/out");
    for target in [&path, &missing] {
        host(&["eval", "--ids", "1", "--logits", target]).fails(2, target);
        host(&["pack", &model, "-o", target]).fails(2, target);
    }
    // a limit on the size of files stands in for a full disk
    let limited = |arguments: &str| {
        let mut shell = Command::new("sh");
        let script = format!("ulimit -f 8; exec {} {arguments}", env!("CARGO_BIN_EXE_host"));
        shell.args(["-c", &script]);
        finish(shell)
    };
    limited(&format!("eval --ids 1,2,3,4,5,6 --logits {path}/out.safetensors")).fails(74, "out.safetensors");
    limited(&format!("pack {model} -o {path}/out.tercet")).fails(74, "out.tercet");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    // the super-user may write into any folder, but not here
    let locked = if rustix::process::geteuid().is_root() { "/sys/kernel" } else { "/" };
    let target = format!("{locked}/tercet.out");
    host(&["eval", "--ids", "1", "--logits", &target]).fails(77, &target);
}

#[test]
fn an_output_that_is_a_link_stays_one() {
    let folder = tempfile::tempdir().unwrap();
    let (real, link) = (folder.path().join("real"), folder.path().join("link"));
    std::fs::write(&real, "older").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    host(&["eval", "--ids", "1", "--logits", &path_text(&link)]).ok();
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(std::fs::metadata(&real).unwrap().len() > 1000);
}

#[test]
fn a_full_disk_under_standard_output_is_exit_74() {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{} generate x -n 2 > /dev/full", env!("CARGO_BIN_EXE_host"))]);
    finish(shell).fails(74, "standard output");
}

#[test]
fn errors_are_also_json_where_json_was_asked_for() {
    for (arguments, code) in [
        (&["generate", "--ids", "99999", "--json"][..], 65),
        (&["generate", "x", "-m", "/nonexistent", "--format", "jsonl"], 66),
        (&["generate", "x", "--top-p", "-3", "--json"], 2),
        (&["generate", "x", "--what", "--json"], 2),
        (&["bench", "-p", "100000", "-o", "json"], 2),
        (&["bench", "-p", "100000", "--output=json"], 2),
    ] {
        let run = host(arguments);
        assert_eq!(run.code, Some(code));
        assert_eq!(run.json()["error"]["code"], code);
        let message = run.json()["error"]["message"].as_str().unwrap().to_string();
        assert_eq!(run.stderr, format!("error: {message}\n"));
    }
}
