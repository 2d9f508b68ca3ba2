//! What goes in comes out.

use super::models::*;
use super::*;
use spec::format::image::ImageHeader;
use spec::format::scale::Scale;
use spec::model::config::{ActQuant, Activation, RopeScaling};
use spec::model::random::{self, RandomSpec, WeightKind};

#[test]
fn every_kind_of_model_computes_the_same_bits_after_packing() {
    for kind in KINDS {
        for choice in 0..8 {
            let [sub_norms, tied, coded_tables] = [0, 1, 2].map(|bit| choice >> bit & 1 == 1);
            let input_norms = kind == WeightKind::Row || choice == 5;
            let spec = RandomSpec { seed: choice, kind, sub_norms, tied, input_norms, coded_tables };
            let weights = random::model(&config(), spec);
            let extras = if choice % 2 == 0 { extras() } else { ImageExtras::default() };
            let bytes = packed(&weights, &extras);
            let image = decode(&bytes).unwrap();
            assert_eq!(image.weights.config, weights.config);
            assert_eq!(image.weights.head.is_none(), tied);
            assert_eq!(logits(image.weights.clone()), logits(weights), "{spec:?}");
            // packing twice, and packing what was unpacked, gives the same bytes
            assert!(packed(&image.weights, &image.extras) == bytes, "{spec:?}");
        }
    }
}

#[test]
fn extras_come_back() {
    let image = decode(&packed(&model(WeightKind::Tensor), &extras())).unwrap();
    let mut wanted = extras();
    wanted.tokenizer.as_mut().unwrap().path = "test.tercet".into();
    assert_eq!(image.extras, wanted);
    let bare = decode(&packed(&model(WeightKind::Tensor), &ImageExtras::default())).unwrap();
    assert_eq!(bare.extras, ImageExtras::default());
    assert_ne!(bare.summary.hash, image.summary.hash);
}

#[test]
fn every_configuration_comes_back() {
    let llama3 = RopeScaling::Llama3 {
        factor: 8.0,
        low_freq_factor: 1.1,
        high_freq_factor: 4.000_000_5,
        original_context: 8192,
    };
    let odd = f32::from_bits(0x3dcc_cccf);
    for rope_scaling in [RopeScaling::None, RopeScaling::Linear { factor: 1.0 + odd }, llama3] {
        for (activation, act_quant) in [(Activation::Silu, ActQuant::None), (Activation::Relu2, ActQuant::Int8PerToken)]
        {
            let mut weights = model(WeightKind::Tensor);
            weights.config.rope_scaling = rope_scaling;
            weights.config.activation = activation;
            weights.config.act_quant = act_quant;
            weights.config.rms_eps = odd * 1e-9;
            weights.config.rope_theta = f64::from_bits(0x40c3_8800_0000_0007);
            weights.config.bos = None;
            weights.config.eos.clear();
            let image = decode(&packed(&weights, &ImageExtras::default())).unwrap();
            assert_eq!(image.weights.config, weights.config);
        }
    }
}

#[test]
fn equal_rows_are_stored_once_and_groups_as_bytes() {
    let length = |kind, name: &str| {
        let header = ImageHeader::parse(&packed(&model(kind), &ImageExtras::default())).unwrap();
        header.section(name).map(|section| section.length)
    };
    assert_eq!(length(WeightKind::Tensor, "layers.0.q.plane0.scales"), Some(4));
    assert_eq!(length(WeightKind::Row, "layers.0.q.plane0.scales"), Some(4 * 24));
    assert_eq!(length(WeightKind::Group(8), "layers.0.q.plane0.multipliers"), Some(24 * 2));
    assert_eq!(length(WeightKind::Group(64), "layers.0.q.plane0.multipliers"), None);
    assert_eq!(length(WeightKind::TwoPlanes, "layers.1.down.plane1.trits"), Some(16 * 6));
    assert_eq!(length(WeightKind::Sherry, "layers.1.down.plane0.trits"), Some(16 * 5));
}

#[test]
fn weights_start_at_pages_and_codes_are_not_copied() {
    let bytes = packed(&model(WeightKind::Row), &extras());
    let file = spec::Bytes::from(bytes);
    let range = file.as_ptr_range();
    let image = decode_image(file.clone(), "x".as_ref()).unwrap();
    for section in &image.header.sections {
        assert!(section.offset.is_multiple_of(section.element.alignment()), "{}", section.name);
        assert_eq!(section.element.encoding().is_some(), section.name.ends_with(".trits"));
    }
    let codes = image.weights.layers[1].down.planes[0].trits.bytes();
    assert!(range.contains(&codes.as_ptr()));
}

#[test]
fn scales_that_flush_to_zero_are_packed_as_the_device_sees_them() {
    let mut weights = model(WeightKind::Row);
    let Scale::Row(rows) = &mut weights.layers[0].q.planes[0].scale else { panic!("row scales") };
    rows[3] = 1e-40;
    rows[4] = -0.0;
    let bytes = packed(&weights, &ImageExtras::default());
    let image = decode(&bytes).unwrap();
    assert_eq!(logits(image.weights.clone()), logits(weights));
    assert!(packed(&image.weights, &image.extras) == bytes);
}

#[test]
fn a_file_on_disk_opens_and_describes_itself() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tiny.tercet");
    let weights = model(WeightKind::Group(8));
    let mut last = (0, 0);
    let summary = write_image(&weights, &extras(), &path, &mut |done, total| {
        assert!(done >= last.0 && done <= total);
        last = (done, total);
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(last, (summary.bytes, summary.bytes));
    assert!(is_image(&path));
    assert!(!is_image(dir.path()));
    let image = open_image(&path).unwrap();
    assert_eq!(image.summary, summary);
    let report = inspect(&path).unwrap();
    assert_eq!(report.hash, summary.hash.to_string());
    assert_eq!(report.parts.iter().map(|part| part.bytes).sum::<u64>(), summary.bytes);
    let mut zeros = 0;
    let mut count = 0;
    for layer in &weights.layers {
        for linear in [&layer.q, &layer.k, &layer.v, &layer.o, &layer.gate, &layer.up, &layer.down] {
            for row in 0..linear.rows() {
                let mut trits = vec![0; linear.cols()];
                linear.planes[0].trits.unpack_row(row, &mut trits);
                zeros += trits.iter().filter(|&&trit| trit == 0).count();
                count += trits.len();
            }
        }
    }
    assert_eq!(report.weights.count, count as u64);
    assert_eq!(report.weights.zero_fraction, zeros as f64 / count as f64);
    assert_eq!(report.memory.kv_bytes_per_position, 2 * 2 * (12 + 8));
    assert_eq!(report.memory.context_within(0), 0);
    assert_eq!(report.memory.context_within(1 << 20), 64);
    let text = format!("{report:#}");
    for part in ["tiny.tercet", "one per group of 8 (14)", "3 entries", "default, tools", "layers.1.down.plane0.trits"]
    {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["config"]["rms_eps"], "0.00001");
    assert_eq!(json["sections"].as_array().unwrap().len(), summary.sections);
}
