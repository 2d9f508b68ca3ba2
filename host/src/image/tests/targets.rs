//! Places that images cannot be written to or read from: exact errors, nothing left behind.

use super::models::*;
use super::*;
use crate::mmap::FileError;
use spec::model::random::WeightKind;
use std::fs::{self, File};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Takes `left` bytes, then fails with `kind`.
struct Full {
    file: File,
    left: usize,
    kind: io::ErrorKind,
}

impl Write for Full {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(self.left);
        if n == 0 && !bytes.is_empty() {
            return Err(self.kind.into());
        }
        self.left -= n;
        self.file.write(&bytes[..n])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Seek for Full {
    fn seek(&mut self, place: SeekFrom) -> io::Result<u64> {
        self.file.seek(place)
    }
}

#[test]
fn a_full_disk_leaves_nothing_and_keeps_an_older_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.tercet");
    let (weights, extras) = (model(WeightKind::Row), extras());
    let total = packed(&weights, &extras).len();
    for kind in [io::ErrorKind::StorageFull, io::ErrorKind::BrokenPipe, io::ErrorKind::Other] {
        for left in [0, 1, 64, 5000, total / 2, total - 1, total, total + 63] {
            let full = |file| Full { file, left, kind };
            let error = super::super::write::write_through(&weights, &extras, &path, &mut on, full).unwrap_err();
            assert!(matches!(&error, ImageIoError::Write { action: "write", source, .. } if source.kind() == kind));
            assert_eq!(error.exit_code(), 74);
            assert_eq!(names(dir.path()), [""; 0], "{left}");
        }
    }
    fs::write(&path, "older").unwrap();
    let full = |file| Full { file, left: 100, kind: io::ErrorKind::StorageFull };
    super::super::write::write_through(&weights, &extras, &path, &mut on, full).unwrap_err();
    assert_eq!(fs::read(&path).unwrap(), b"older");
    assert_eq!(names(dir.path()), ["model.tercet"]);
}

#[test]
fn a_real_full_file_system_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |args: &[&str]| {
        std::process::Command::new(args[0]).args(&args[1..]).arg(dir.path()).output().is_ok_and(|o| o.status.success())
    };
    if !mount(&["mount", "-t", "tmpfs", "-o", "size=32k", "none"]) {
        eprintln!("skipped: mounting needs root; a_full_disk_leaves_nothing_and_keeps_an_older_file covers the rest");
        return;
    }
    let path = dir.path().join("model.tercet");
    let error = write_image(&model(WeightKind::Row), &extras(), &path, &mut on);
    let left = names(dir.path());
    assert!(mount(&["umount"]));
    let error = error.unwrap_err();
    assert!(matches!(&error, ImageIoError::Write { source, .. } if source.kind() == io::ErrorKind::StorageFull));
    assert!(error.to_string().contains("nothing was written under this name"), "{error}");
    assert_eq!(left, [""; 0]);
}

#[test]
fn stopping_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.tercet");
    let mut calls = 0;
    let error = write_image(&model(WeightKind::Row), &extras(), &path, &mut |_, _| {
        calls += 1;
        if calls == 20 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let error = error.unwrap_err();
    assert!(matches!(error, ImageIoError::Cancelled { .. }));
    assert_eq!((error.exit_code(), calls), (130, 20));
    assert_eq!(names(dir.path()), [""; 0]);
}

#[test]
fn targets_that_are_no_files_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let write = |path: &Path| write_image(&model(WeightKind::Tensor), &ImageExtras::default(), path, &mut on);
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let missing = dir.path().join("no/such/folder/model");
    for (path, expected) in [
        (dir.path(), "is a directory"),
        (&pipe, "is a pipe or a device"),
        (Path::new("/dev/null"), "is a pipe or a device"),
        (&missing, "its folder does not exist"),
        (Path::new(""), "names no file"),
    ] {
        let error = write(path).unwrap_err();
        assert!(matches!(&error, ImageIoError::Target { problem, .. } if *problem == expected), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
    // a link is followed and stays a link
    let (real, link) = (dir.path().join("real"), dir.path().join("link"));
    fs::write(&real, "older").unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    write(&link).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert!(is_image(&real));
    assert_eq!(names(dir.path()), ["link", "pipe", "real"]);
}

#[test]
fn sources_that_are_no_images_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| open_image(path).unwrap_err();
    let missing = open(&dir.path().join("nothing"));
    assert!(matches!(&missing, ImageIoError::File(FileError::Io { action: "open", .. })), "{missing}");
    assert_eq!(missing.exit_code(), 66);
    assert!(matches!(open(dir.path()), ImageIoError::File(FileError::NotRegular { found: "directory", .. })));
    let pipe = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(open(&pipe), ImageIoError::File(FileError::NotRegular { found: "pipe", .. })));
    assert!(!is_image(&pipe));
    let empty = dir.path().join("empty");
    fs::write(&empty, "").unwrap();
    assert!(matches!(open(&empty), ImageIoError::File(FileError::Empty { .. })));
    let other = dir.path().join("other");
    fs::write(&other, "GGUF and more").unwrap();
    let error = open(&other);
    assert_eq!(error.exit_code(), 65);
    assert!(error.to_string().ends_with(
        "other: not a packed image: starts with GGUF a, expected TERCET; pack the model first (tercet pack)"
    ));
}

#[test]
fn models_and_texts_that_break_rules_are_not_packed() {
    let refuse = |weights, extras| {
        let dir = tempfile::tempdir().unwrap();
        let error = write_image(&weights, &extras, &dir.path().join("model"), &mut on).unwrap_err();
        assert_eq!((error.exit_code(), names(dir.path()).len()), (65, 0), "{error}");
        error.to_string()
    };
    let mut weights = model(WeightKind::Row);
    weights.final_norm[3] = f32::NAN;
    assert!(refuse(weights, extras()).contains("final_norm: element 3 is NaN"));
    let mut weights = model(WeightKind::Row);
    let plane = weights.layers[1].up.planes[0].clone();
    weights.layers[1].up.planes = vec![plane; 9];
    assert!(refuse(weights, extras()).contains("number of trit planes is 9, expected 1 to 8"));
    let mut bad = extras();
    bad.tokenizer.as_mut().unwrap().stop.push(11);
    assert!(refuse(model(WeightKind::Row), bad).contains("token id 11"));
    let mut bad = extras();
    bad.tokenizer.as_mut().unwrap().json = b"{".to_vec();
    assert!(refuse(model(WeightKind::Row), bad).contains("not JSON"));
    let mut bad = extras();
    bad.origin.as_mut().unwrap().files[0].name = "/home/me/model".into();
    assert!(refuse(model(WeightKind::Row), bad).contains("without folders"));
}
