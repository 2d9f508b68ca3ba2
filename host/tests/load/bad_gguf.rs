//! Wrong GGUF files: each kind of fault gives its own kind of error.

use host::load::{
    LoadError, LoadOptions, NoProgress,
    error::Placement,
    gguf::load_bytes,
    testkit::{
        Tiny,
        gguf::{Builder, Ternary, add_tokenizer, model},
        shape,
    },
};
use std::path::Path;

fn read(bytes: Vec<u8>) -> Result<(), LoadError> {
    load_bytes(Path::new("m.gguf"), bytes.into(), &LoadOptions::default(), &NoProgress).map(|_| ())
}

/// The smallest model that I2_S can store.
fn small() -> Builder {
    let mut config = shape();
    (config.vocab, config.hidden, config.ffn, config.layers) = (320, 128, 128, 1);
    (config.heads, config.kv_heads) = (2, 2);
    model(&Tiny::with(config, 40, true), "bitnet-b1.58", Ternary::I2S)
}

fn with(change: impl Fn(&mut Builder)) -> LoadError {
    let mut file = small();
    change(&mut file);
    read(file.build()).unwrap_err()
}

#[test]
fn every_truncation_is_an_error() {
    let mut file = small();
    add_tokenizer(&mut file);
    let bytes = file.build();
    read(bytes.clone()).unwrap();
    let header = bytes.len() - 128 * 320 * 2; // more than the header, less than the file
    let borders = (0..400).chain((0..header).step_by(97)).chain((1..16).map(|part| bytes.len() * part / 16));
    for length in borders.chain([bytes.len() - 33, bytes.len() - 32]) {
        let error = read(bytes[..length].to_vec()).unwrap_err();
        let expected =
            matches!(error, LoadError::Truncated { .. } | LoadError::Place { placement: Placement::PastEnd, .. });
        assert!(expected, "{length}: {error}");
    }
    let longer = [bytes.as_slice(), &[0; 32]].concat();
    let error = read(longer).unwrap_err();
    assert!(matches!(error, LoadError::Place { placement: Placement::TrailingBytes, .. }), "{error}");
}

#[test]
fn magic_version_and_counts() {
    let patched = |at: usize, bytes: &[u8]| {
        let mut file = small().build();
        file[at..at + bytes.len()].copy_from_slice(bytes);
        read(file).unwrap_err()
    };
    assert!(matches!(patched(0, b"GGML"), LoadError::Limit { .. }));
    assert!(matches!(patched(4, &1u32.to_le_bytes()), LoadError::Limit { .. }));
    assert!(patched(4, &3u32.to_be_bytes()).to_string().contains("big endian"));
    for at in [8, 16] {
        assert!(matches!(patched(at, &u64::MAX.to_le_bytes()), LoadError::Limit { .. }));
        assert!(matches!(
            patched(at, &65_536u64.to_le_bytes()),
            LoadError::Truncated { .. } | LoadError::Limit { .. } | LoadError::KeyValue { .. }
        ));
    }
    assert!(matches!(read(Builder::default().build()), Err(LoadError::Limit { .. })));
    let mut old = small();
    old.version = 2;
    read(old.build()).unwrap();
}

#[test]
fn keys_that_are_wrong() {
    let huge = u64::MAX.to_le_bytes();
    assert!(matches!(
        with(|f| {
            f.integer("bitnet-b1.58.block_count", 1);
        }),
        LoadError::Duplicate { kind: "key", .. }
    ));
    assert!(matches!(
        with(|f| {
            f.raw("x", 13, &[0]);
        }),
        LoadError::KeyValue { .. }
    ));
    assert!(matches!(
        with(|f| {
            f.raw("x", 7, &[2]);
        }),
        LoadError::Limit { .. }
    ));
    assert!(matches!(
        with(|f| {
            f.raw("x", 8, &huge);
        }),
        LoadError::Limit { .. }
    ));
    assert!(matches!(
        with(|f| {
            f.raw("x", 8, &1_000_000_000u64.to_le_bytes());
        }),
        LoadError::Truncated { .. }
    ));
    let list = |kind: u32, count: [u8; 8]| [kind.to_le_bytes().as_slice(), &count].concat();
    for kind in [0, 4, 6, 8, 10] {
        assert!(
            matches!(
                with(|f| {
                    f.raw("x", 9, &list(kind, huge));
                }),
                LoadError::Truncated { .. }
            ),
            "{kind}"
        );
    }
    assert!(matches!(
        with(|f| {
            f.raw("x", 9, &list(9, [0; 8]));
        }),
        LoadError::KeyValue { .. }
    ));
    let invalid = [2u64.to_le_bytes().as_slice(), &[0xc3, 0x28]].concat();
    assert!(matches!(
        with(|f| {
            f.raw("x", 8, &invalid);
        }),
        LoadError::Utf8 { .. }
    ));
    assert!(matches!(
        with(|f| {
            f.integer(&"k".repeat(257), 1);
        }),
        LoadError::Limit { .. }
    ));
    for alignment in [0, 3, 4, 1 << 20] {
        assert!(matches!(
            with(|f| {
                f.integer("general.alignment", alignment);
            }),
            LoadError::KeyValue { .. }
        ));
    }
    let mut wide = small();
    wide.integer("general.alignment", 128).alignment = 128;
    read(wide.build()).unwrap();
}

#[test]
fn configurations_that_are_wrong() {
    let build = |arch: &str, change: &dyn Fn(&mut Builder)| {
        let mut file = Builder::default();
        file.text("general.architecture", arch).floats("token_embd.weight", &[4, 4], &[0.0; 16]);
        change(&mut file);
        read(file.build()).unwrap_err()
    };
    let error = build("gemma", &|_| {});
    assert!(
        matches!(&error, LoadError::Unsupported { key, found, .. } if key == "general.architecture" && found == "gemma")
    );
    assert!(matches!(build("llama", &|_| {}), LoadError::MissingKey { .. }));
    let key = "llama.embedding_length";
    assert!(matches!(
        build("llama", &|f| {
            f.text(key, "256");
        }),
        LoadError::KeyValue { .. }
    ));
    assert!(matches!(
        build("llama", &|f| {
            f.float(key, 256.0);
        }),
        LoadError::KeyValue { .. }
    ));
    assert!(matches!(
        build("llama", &|f| {
            f.integer(key, u32::MAX);
        }),
        LoadError::KeyValue { .. }
    ));
    let arch = "bitnet-b1.58";
    let error = with(|f| {
        f.text("bitnet-b1.58.rope.scaling.type", "yarn");
    });
    assert!(matches!(error, LoadError::Unsupported { .. }));
    assert!(matches!(
        with(|f| {
            f.integer(&format!("{arch}.attention.value_length"), 32);
        }),
        LoadError::KeyValue { .. }
    ));
    let error = with(|f| {
        f.integer(&format!("{arch}.attention.key_length"), 32);
    });
    assert!(matches!(error, LoadError::KeyValue { .. }), "{error}"); // rope.dimension_count is 64
    assert!(matches!(
        with(|f| {
            f.integer("tokenizer.ggml.bos_token_id", 320);
        }),
        LoadError::Config { .. }
    ));
}

#[test]
fn tensors_that_are_wrong() {
    let tensor = |name: &str, shape: &[usize], kind: u32, bytes: usize| {
        with(|f| {
            f.tensor(name, shape, kind, vec![0; bytes]);
        })
    };
    assert!(matches!(tensor("output_norm.weight", &[128], 0, 512), LoadError::Duplicate { kind: "tensor", .. }));
    assert!(matches!(tensor("blk.9.attn_norm.weight", &[128], 0, 512), LoadError::UnknownTensors { count: 1, .. }));
    assert!(matches!(tensor("bad name", &[128], 0, 512), LoadError::Name { .. }));
    assert!(matches!(tensor("x", &[0], 0, 0), LoadError::Limit { .. }));
    assert!(matches!(tensor("x", &[1, 1, 1, 1, 1], 0, 4), LoadError::Limit { .. }));
    assert!(matches!(tensor("x", &[1 << 25], 0, 4), LoadError::Limit { .. }));
    let big = 1 << 24;
    assert!(matches!(tensor("x", &[big, big, big, 256], 35, 66), LoadError::Shape { .. }));
    assert!(matches!(tensor("x", &[big, big, 4], 0, 64), LoadError::Place { placement: Placement::PastEnd, .. }));
    assert!(matches!(tensor("x", &[2, 100], 35, 66), LoadError::Shape { .. }));
    let error = tensor("x", &[256], 39, 66);
    assert!(matches!(&error, LoadError::Dtype { found, .. } if found.contains("TL2")), "{error}");
    assert!(matches!(tensor("x", &[256], 12, 144), LoadError::Dtype { .. }));

    let replace = |name: &str, kind: u32, bytes: usize| {
        with(|f| {
            f.replace(name, kind, vec![0; bytes]);
        })
    };
    assert!(matches!(replace("output_norm.weight", 36, 64), LoadError::Dtype { .. }));
    assert!(matches!(replace("blk.0.attn_v.weight", 8, 128 * 4 * 34), LoadError::Dtype { .. }));
    let mut file = Builder::default();
    file.clone_from(&small());
    let error = {
        file.retain(|name| name != "blk.0.ffn_up.weight");
        read(file.build()).unwrap_err()
    };
    assert!(matches!(error, LoadError::MissingTensors { count: 1, .. }), "{error}");
    let error = with(|f| {
        f.reshape("blk.0.ffn_up.weight", &[64, 256]);
    });
    assert!(matches!(error, LoadError::Shape { .. }), "{error}");
}

#[test]
fn places_that_are_wrong() {
    let mut file = Builder::default();
    file.floats("a", &[8], &[0.0; 8]).floats("b", &[8], &[0.0; 8]);
    let placement = |offsets: &[u64]| match read(file.build_at(offsets)).unwrap_err() {
        LoadError::Place { placement, .. } => Some(placement),
        LoadError::MissingKey { .. } => None, // the header is fine
        other => panic!("{other}"),
    };
    assert_eq!(placement(&[0, 32]), None);
    assert_eq!(placement(&[32, 0]), None);
    assert_eq!(placement(&[0, 0]), Some(Placement::Overlap));
    assert_eq!(placement(&[0, 16]), Some(Placement::Misaligned));
    assert_eq!(placement(&[0, 64]), Some(Placement::PastEnd));
    assert_eq!(placement(&[0, u64::MAX - 31]), Some(Placement::PastEnd));
    assert_eq!(placement(&[32, 32]), Some(Placement::Gap));
}

#[test]
fn values_that_must_not_be() {
    let tiny = Tiny::new(41, true);
    let format = |format| model(&tiny, "bitnet", format);
    let name = "blk.1.ffn_down.weight";
    let damaged = |kind: Ternary, change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = format(kind);
        let (id, mut bytes) = host::load::testkit::gguf::encode(kind, &tiny.blocks[1][6]);
        change(&mut bytes);
        file.replace(name, id, bytes);
        read(file.build()).unwrap_err()
    };
    let code = |error: LoadError| match error {
        LoadError::TritCode { tensor, row, col, code, .. } if tensor == name => (row, col, code),
        other => panic!("{other}"),
    };
    assert_eq!(code(damaged(Ternary::Tq2_0, &|b| b[132 + 66 + 40] |= 0x30)), (1, 256 + 128 + 64 + 8, 3));
    assert_eq!(code(damaged(Ternary::I2S, &|b| b[128 + 32 + 5] |= 0x0c)), (1, 128 + 64 + 5, 3));
    let illegal = (0..=255u8).find(|byte| (0..243usize).all(|v| (v * 256).div_ceil(243) != *byte as usize)).unwrap();
    assert_eq!(code(damaged(Ternary::Tq1_0, &|b| b[3] = illegal)), (0, 3, illegal));
    assert_eq!(code(damaged(Ternary::Tq1_0, &|b| b[54 + 49] = 2)), (0, 256 + 241, 2)); // v = 1: a fifth digit
    let infinity = half::f16::INFINITY.to_le_bytes();
    let minus = half::f16::from_f32(-0.5).to_le_bytes();
    for (kind, bytes) in [(Ternary::Tq1_0, infinity), (Ternary::Tq2_0, minus)] {
        let width = if kind == Ternary::Tq1_0 { 54 } else { 66 };
        let error = damaged(kind, &|b| b[width - 2..width].copy_from_slice(&bytes));
        assert!(matches!(error, LoadError::Value { index: 0, .. }), "{error}");
    }
    for wrong in [f32::NAN, f32::NEG_INFINITY, -1.0] {
        let error = damaged(Ternary::I2S, &|b| {
            let at = b.len() - 32;
            b[at..at + 4].copy_from_slice(&wrong.to_le_bytes());
        });
        assert!(matches!(error, LoadError::Value { .. }), "{error}");
    }
    let error = damaged(Ternary::F16, &|b| b[..2].copy_from_slice(&half::f16::from_f32(0.3).to_le_bytes()));
    assert!(matches!(error, LoadError::NotTernary { .. }), "{error}");
    let mut file = format(Ternary::I2S);
    file.floats("blk.0.attn_q.scale", &[1], &[-2.0]);
    assert!(matches!(read(file.build()), Err(LoadError::Value { .. })));
}

#[test]
fn tokenizers_that_are_wrong() {
    let tokenizer = |change: &dyn Fn(&mut Builder)| with(|f| change(f));
    let kind = "tokenizer.ggml.model";
    let tokens = "tokenizer.ggml.tokens";
    let texts = |list: &[&str]| list.iter().map(|text| text.to_string()).collect::<Vec<String>>();
    assert!(matches!(
        tokenizer(&|f| {
            f.text(kind, "gpt2");
        }),
        LoadError::MissingKey { .. }
    ));
    assert!(matches!(
        tokenizer(&|f| {
            f.text(kind, "t5").texts(tokens, &texts(&["a"]));
        }),
        LoadError::Unsupported { .. }
    ));
    assert!(matches!(
        tokenizer(&|f| {
            f.text(kind, "gpt2").texts(tokens, &texts(&["a", "a"]));
        }),
        LoadError::Duplicate { kind: "token", .. }
    ));
    assert!(matches!(
        tokenizer(&|f| {
            f.text(kind, "gpt2").text("tokenizer.ggml.pre", "new").texts(tokens, &texts(&["a"]));
        }),
        LoadError::Unsupported { .. }
    ));
    for merge in ["ab", " a", "a b c", ""] {
        let error = tokenizer(&|f| {
            f.text(kind, "gpt2")
                .texts(tokens, &texts(&["a", "b", "ab"]))
                .texts("tokenizer.ggml.merges", &texts(&[merge]));
        });
        assert!(matches!(error, LoadError::KeyValue { .. }), "{merge:?}: {error}");
    }
    let error = tokenizer(&|f| {
        f.text(kind, "gpt2").texts(tokens, &texts(&["a", "b"])).texts("tokenizer.ggml.merges", &texts(&["a b"]));
    });
    assert!(matches!(error, LoadError::Tokenizer { .. }), "{error}");
    assert!(matches!(
        tokenizer(&|f| {
            f.integer(kind, 1);
        }),
        LoadError::KeyValue { .. }
    ));
    assert!(matches!(
        tokenizer(&|f| {
            f.text(kind, "llama").texts(tokens, &texts(&["a"]));
        }),
        LoadError::MissingKey { .. }
    ));
    let wrong_length = |f: &mut Builder| {
        f.text(kind, "llama").texts(tokens, &texts(&["a"])).list("tokenizer.ggml.scores", 6, &[]);
    };
    assert!(matches!(tokenizer(&wrong_length), LoadError::KeyValue { .. }));
}
