//! `host chat` as a script: one line, one turn.

mod support;
use support::{host_with_input, path_text};

#[test]
fn the_shipped_model_continues_a_text_line_by_line() {
    let run = host_with_input(&["chat", "--greedy", "-n", "8", "--stats"], b"Once upon a time\nThe fox\n").ok();
    assert!(run.stdout.lines().count() >= 2, "{:?}", run.stdout);
    // the second turn computes its own line, not the whole conversation
    let prompts: Vec<usize> = run
        .stderr
        .lines()
        .filter(|line| line.starts_with("prompt"))
        .map(|line| line.split_whitespace().nth(3).unwrap().parse().unwrap())
        .collect();
    assert_eq!(prompts.len(), 2, "{}", run.stderr);
    assert!(prompts[1] < 4 + 8, "{prompts:?}");
}

#[test]
fn commands_work_in_a_script() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_text(&folder.path().join("chat.json"));
    let script = format!(
        "Once upon a time\n/stats\n/reset\n\nThe fox\n/system Be brief.\nA dog\n/save {path}\n/help\n/quit\nnever\n"
    );
    let run = host_with_input(&["chat", "--greedy", "-n", "4", "-q"], script.as_bytes()).ok();
    assert_eq!(run.stdout.lines().count(), 3, "{:?}", run.stdout);
    assert!(run.stderr.contains("context  ") && run.stderr.contains("/save FILE"), "{}", run.stderr);
    let saved: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
    let saved = &saved["messages"];
    let roles: Vec<&str> = saved.as_array().unwrap().iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant"]);
    assert_eq!(saved[1]["content"], "A dog");
    host_with_input(&["chat", "-q"], b"/what\n").fails(2, "/what");
    host_with_input(&["chat", "-q"], b"/save /nonexistent/x\n").fails(2, "/nonexistent/x");
}

#[test]
fn a_reset_begins_anew() {
    let run = |script: &[u8]| host_with_input(&["chat", "--greedy", "-n", "6", "-q"], script).ok().stdout;
    let twice = run(b"The fox\n/reset\nThe fox\n");
    let lines: Vec<&str> = twice.lines().collect();
    assert_eq!(lines[0], lines[1]);
    assert_eq!(format!("{}\n", lines[0]), run(b"The fox\n"));
}

#[test]
fn templates_are_chosen_and_missing_ones_named() {
    let model = path_text(&support::shipped());
    host_with_input(&["chat", "-q", "-m", &model], b"Hi\n").fails(65, "bitnet, chatml, falcon3, llama3, or plain");
    host_with_input(&["chat", "-q", "--chat-template", "nonsense"], b"Hi\n").fails(2, "nonsense");
    for template in ["plain", "bitnet", "chatml"] {
        let run = host_with_input(&["chat", "-q", "-m", &model, "--chat-template", template, "-n", "3"], b"Hi\n").ok();
        assert!(run.stdout.ends_with('\n'));
    }
    let folder = tempfile::tempdir().unwrap();
    let own = support::file(&folder, "own.jinja", "{% for m in messages %}{{ m.content }}{% endfor %}");
    host_with_input(&["chat", "-q", "--chat-template", &own, "-n", "3", "-sys", "Be brief."], b"Hi\n").ok();
    let broken = support::file(&folder, "broken.jinja", "{% if %}");
    host_with_input(&["chat", "-q", "--chat-template", &broken], b"Hi\n").fails(65, "does not parse");
}

#[test]
fn a_full_context_is_told() {
    let long = "the fox and the crow ".repeat(20);
    host_with_input(&["chat", "-q", "-c", "32"], long.as_bytes()).fails(65, "/reset");
}

#[test]
fn row_31_a_saved_conversation_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = path_text(&folder.path().join("chat.json"));
    let whole = host_with_input(&["chat", "--greedy", "-n", "6", "-q"], b"The fox\nA dog\n").ok().stdout;
    let script = format!("The fox\n/save {path}\n");
    let first = host_with_input(&["chat", "--greedy", "-n", "6", "-q"], script.as_bytes()).ok().stdout;
    let arguments = ["chat", "--greedy", "-n", "6", "-q", "--session", &path];
    let rest = host_with_input(&arguments, b"A dog\n").ok().stdout;
    assert_eq!(format!("{first}{rest}"), whole);
    // with another model, damaged, cut off, or not there
    let bytes = std::fs::read(&path).unwrap();
    let other = support::copy_without(&[]);
    let tokenizer = other.path().join("tokenizer.json");
    let text = std::fs::read_to_string(&tokenizer).unwrap();
    std::fs::write(&tokenizer, format!("{text} ")).unwrap();
    let model = path_text(other.path());
    let with = [&arguments[..], &["-m", &model, "--chat-template", "plain"]].concat();
    host_with_input(&with, b"A dog\n").fails(65, "conversation with model");
    // the text stays a text: only the checksum tells
    let mut flipped = bytes.clone();
    let at = bytes.windows(7).position(|text| text == b"The fox").unwrap();
    flipped[at] ^= 2;
    for bad in [&flipped[..], &bytes[..bytes.len() - 1], b"", b"[]", b"\xff"] {
        std::fs::write(&path, bad).unwrap();
        let run = host_with_input(&arguments, b"A dog\n").fails(65, &path);
        assert_eq!(run.stdout, "");
    }
    std::fs::remove_file(&path).unwrap();
    host_with_input(&arguments, b"A dog\n").fails(66, &path);
    host_with_input(&[&arguments[..], &["--system", "x"]].concat(), b"").fails(2, "--system");
}
