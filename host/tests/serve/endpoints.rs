//! Every endpoint, its answer, and what it refuses.

use super::client::{exchange, request};
use super::server::{Server, settings, tokenizer};
use host::serve::Ended;
use serde_json::json;
use std::sync::mpsc;

#[test]
fn texts_are_turned_into_tokens_and_back() {
    let server = Server::shipped(settings());
    let tokens = server.post("/tokenize", &json!({"content": "Once upon"})).ok().json();
    assert_eq!(tokens["tokens"], json!(tokenizer().encode("Once upon", false).unwrap()));
    let special = server.post("/tokenize", &json!({"content": "Once upon", "add_special": true})).ok().json();
    assert_eq!(special["tokens"], json!(tokenizer().encode("Once upon", true).unwrap()));
    let text = server.post("/detokenize", &json!({"tokens": tokens["tokens"]})).ok().json();
    assert_eq!(text["content"], "Once upon");
    let messages = json!([{"role": "system", "content": "A"}, {"role": "user", "content": "b"}]);
    let prompt = server.post("/apply-template", &json!({ "messages": messages })).ok().json();
    assert_eq!(prompt["prompt"], "A\nb");
    server.post("/tokenize", &json!({})).fails(400, "invalid_value");
    server.post("/tokenize", &json!({"content": 1})).fails(400, "invalid_value");
    server.post("/detokenize", &json!({"tokens": [2048]})).fails(400, "invalid_value");
    server.post("/apply-template", &json!({"messages": []})).fails(400, "invalid_value");
}

#[test]
fn answers_have_openais_form() {
    let server = Server::shipped(settings());
    let ask = json!({"prompt": "Once upon a time", "max_tokens": 8, "temperature": 0});
    let text = server.post("/v1/completions", &ask).ok();
    assert!(text.head.contains("content-type: application/json") && !text.head.contains("access-control"), "{text:?}");
    let text = text.json();
    assert_eq!((&text["object"], &text["model"]), (&json!("text_completion"), &json!("stories")));
    let choice = &text["choices"][0];
    assert_eq!((&choice["finish_reason"], &choice["index"]), (&json!("length"), &json!(0)));
    assert_eq!(text["usage"]["completion_tokens"], 8);
    assert_eq!(text["usage"]["total_tokens"], 8 + text["usage"]["prompt_tokens"].as_u64().unwrap());
    assert_eq!(text["timings"]["predicted_n"], 8);
    assert!(text["timings"]["predicted_ms"].as_f64() > Some(0.0), "{text}");
    assert!(text["id"].as_str().unwrap().starts_with("cmpl-") && text["created"].as_u64() > Some(1_600_000_000));
    // the same prompt as token ids and as a conversation
    let ids = server.post("/tokenize", &json!({"content": "Once upon a time", "add_special": true})).json();
    let by_ids = json!({"prompt": ids["tokens"], "max_tokens": 8, "temperature": 0});
    assert_eq!(server.post("/v1/completions", &by_ids).ok().json()["choices"][0]["text"], choice["text"]);
    let messages = json!([{"role": "user", "content": "Once upon a time"}]);
    let chat = json!({"messages": messages, "max_completion_tokens": 8, "temperature": 0, "model": "any", "new": 1});
    let chat = server.post("/v1/chat/completions", &chat).ok().json();
    assert_eq!(chat["object"], "chat.completion");
    assert_eq!(chat["choices"][0]["message"], json!({"role": "assistant", "content": choice["text"]}));
    let models = server.get("/v1/models").ok().json();
    assert_eq!((&models["object"], &models["data"][0]["id"]), (&json!("list"), &json!("stories")));
    assert_eq!(models["data"][0]["meta"]["n_ctx"], 512);
    assert_eq!(server.get("/health").ok().json(), json!({"status": "ok"}));
    let metrics = server.get("/metrics").ok();
    assert!(metrics.head.contains("text/plain"), "{metrics:?}");
    for line in ["generated_tokens_total 24", "generations_total{end=\"length\"} 3", "queue_length 0", "running 0"] {
        server.until_metric(line);
    }
    assert!(server.metric("state{state=\"ready\"} 1"));
}

#[test]
fn a_seed_gives_the_same_text_again() {
    let server = Server::shipped(settings());
    let ask = |seed: i64| {
        let ask = json!({"prompt": "The fox", "max_tokens": 12, "seed": seed, "temperature": 1.5});
        server.post("/v1/completions", &ask).ok().json()
    };
    let text = |answer: &serde_json::Value| answer["choices"][0]["text"].clone();
    assert_eq!(text(&ask(7)), text(&ask(7)));
    assert_ne!(text(&ask(7)), text(&ask(8)));
    let drawn = ask(-1);
    let again = ask(drawn["seed"].as_i64().unwrap());
    assert_eq!(text(&drawn), text(&again));
}

/// The keys and values of the request before change how long an answer takes, and nothing else.
#[test]
fn texts_are_the_same_with_and_without_the_prompt_before() {
    let server = Server::shipped(settings());
    let ask = |prompt: &str, reuse: bool| {
        let ask = json!({"prompt": prompt, "max_tokens": 10, "seed": 3, "cache_prompt": reuse});
        let answer = server.post("/v1/completions", &ask).ok().json();
        let cached = answer["usage"]["prompt_tokens_details"]["cached_tokens"].as_u64().unwrap();
        assert_eq!(answer["timings"]["prompt_n"], answer["usage"]["prompt_tokens"].as_u64().unwrap() - cached);
        (answer["choices"][0]["text"].as_str().unwrap().to_string(), cached)
    };
    let prompts =
        ["Once upon a time there was a fox", "Once upon a time there was a dog", "The sun", "Once upon a time"];
    let fresh = prompts.map(|prompt| ask(prompt, false));
    assert!(fresh.iter().all(|(_, cached)| *cached == 0), "{fresh:?}");
    let kept = prompts.map(|prompt| ask(prompt, true));
    assert_eq!(kept.clone().map(|(text, _)| text), fresh.map(|(text, _)| text));
    assert!(kept[1].1 > 3, "{kept:?}");
}

#[test]
fn what_is_not_understood_is_refused() {
    let server = Server::shipped(settings());
    let refused = |field: serde_json::Value| {
        let mut ask = json!({"prompt": "x", "max_tokens": 1});
        ask.as_object_mut().unwrap().append(field.clone().as_object_mut().unwrap());
        let error = server.post("/v1/completions", &ask).fails(400, "invalid_value");
        assert!(field.get(error["param"].as_str().unwrap()).is_some(), "{error}");
    };
    for bad in ["max_tokens", "temperature", "top_p", "top_k", "min_p", "repeat_penalty", "seed"] {
        refused(json!({ bad: -2 }));
        refused(json!({ bad: 1e300 }));
        refused(json!({ bad: "1" }));
    }
    refused(json!({"stop": [1]}));
    refused(json!({"stream": 1}));
    refused(json!({"stream_options": true}));
    refused(json!({"prompt": ["a", "b"]}));
    refused(json!({"prompt": [2048]}));
    refused(json!({"max_tokens": 0}));
    for (name, value) in [("n", json!(2)), ("logprobs", json!(1)), ("echo", json!(true)), ("suffix", json!("x"))] {
        let answer = server.post("/v1/completions", &json!({"prompt": "x", name: value}));
        assert_eq!(answer.fails(400, "unsupported_parameter")["param"], name);
    }
    let tools = json!({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "function"}]});
    assert_eq!(server.post("/v1/chat/completions", &tools).fails(400, "unsupported_parameter")["param"], "tools");
    server.get("/v2/models").fails(404, "not_found");
    server.get("/v1/completions").fails(405, "method_not_allowed");
    server.post("/health", &json!({})).fails(405, "method_not_allowed");
    assert_eq!(exchange(server.address, b"no HTTP\r\n\r\n").status, 400);
    assert_eq!(exchange(server.address, &request("OPTIONS", "/v1/models", "", b"")).status, 405);
}

#[test]
fn a_server_listens_before_its_model_is_there() {
    let (go, wait) = mpsc::channel::<()>();
    let server = Server::start(settings(), move |_| {
        let _ = wait.recv();
        Err("no such model".into())
    });
    let health = server.get("/health");
    assert_eq!((health.status, &health.json()["status"]), (503, &json!("loading")));
    assert!(health.head.contains("retry-after"), "{health:?}");
    server.post("/v1/completions", &json!({"prompt": "x"})).fails(503, "loading");
    server.post("/tokenize", &json!({"content": "x"})).fails(503, "loading");
    server.get("/v1/models").fails(503, "loading");
    assert!(server.metric("state{state=\"loading\"} 1"));
    // it ends with the error of the loader
    go.send(()).unwrap();
    assert!(matches!(server.join(), Err(Ended::Load(error)) if error == "no such model"));
}

#[test]
fn a_server_can_be_stopped_while_its_model_loads() {
    let (go, wait) = mpsc::channel::<()>();
    let server = Server::start(settings(), move |_| {
        let _ = wait.recv();
        Err("too late".into())
    });
    server.get("/health").fails(503, "loading");
    server.stop();
    assert!(server.join().is_ok());
    drop(go);
}
