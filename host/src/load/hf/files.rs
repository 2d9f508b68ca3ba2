//! The files of a Hugging Face folder: one safetensors file, or several with an index.

use crate::{
    load::{
        dense::{self, Origin},
        error::{LoadError, shorten},
        json::parse_object,
        safetensors::{self, Entry},
    },
    mmap::{FileError, MappedFile, read_file},
};
use ::safetensors::Dtype;
use spec::{
    Bytes,
    format::table::{DenseMatrix, DenseType},
};
use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Longest index of a sharded model, and longest text file of a folder.
pub const MAX_TEXT_BYTES: u64 = 16 << 20;

/// A tensor of a mapped file.
#[derive(Clone, Debug)]
pub struct Tensor {
    path: Arc<Path>,
    name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Dimensions, slowest first.
    pub shape: Vec<usize>,
    /// Its elements, little endian.
    pub bytes: Bytes,
}

impl Tensor {
    /// Where it is, for messages.
    pub fn origin(&self) -> Origin<'_> {
        Origin { path: &self.path, tensor: &self.name }
    }

    fn float_type(&self) -> Result<DenseType, LoadError> {
        match self.dtype {
            Dtype::F32 => Ok(DenseType::F32),
            Dtype::F16 => Ok(DenseType::F16),
            Dtype::BF16 => Ok(DenseType::Bf16),
            other => Err(self.origin().dtype(other, "F32, F16 or BF16")),
        }
    }

    /// A view of it as `rows` x `cols` floating-point numbers.
    pub fn matrix(&self, rows: usize, cols: usize) -> Result<DenseMatrix, LoadError> {
        let dtype = self.float_type()?;
        if self.shape != [rows, cols] {
            return Err(self.origin().shape(&self.shape, format!("[{rows}, {cols}]")));
        }
        dense::matrix(self.origin(), rows, cols, dtype, self.bytes.clone())
    }

    /// Its `length` floating-point numbers.
    pub fn vector(&self, length: usize) -> Result<Vec<f32>, LoadError> {
        let dtype = self.float_type()?;
        if self.shape != [length] {
            return Err(self.origin().shape(&self.shape, format!("[{length}]")));
        }
        let matrix = dense::matrix(self.origin(), 1, length, dtype, self.bytes.clone())?;
        dense::vector(self.origin(), &matrix)
    }

    /// Its only number; shape `[1]` or `[]`.
    pub fn scalar(&self) -> Result<f32, LoadError> {
        let dtype = self.float_type()?;
        if !matches!(self.shape.as_slice(), [] | [1]) {
            return Err(self.origin().shape(&self.shape, "[1]"));
        }
        let matrix = dense::matrix(self.origin(), 1, 1, dtype, self.bytes.clone())?;
        let mut value = [0.0];
        matrix.read_row(0, &mut value);
        Ok(value[0])
    }
}

/// All tensors of a folder, by name.
pub struct Checkpoint {
    dir: PathBuf,
    files: Vec<MappedFile>,
    tensors: BTreeMap<String, Tensor>,
    /// Things that are odd but not wrong.
    pub warnings: Vec<String>,
}

impl Checkpoint {
    /// Maps the safetensors files of `dir` and checks their headers.
    pub fn open(dir: &Path) -> Result<Self, LoadError> {
        let mut checkpoint =
            Checkpoint { dir: dir.into(), files: Vec::new(), tensors: BTreeMap::new(), warnings: Vec::new() };
        let single = dir.join("model.safetensors");
        let index = dir.join("model.safetensors.index.json");
        if exists(&single)? {
            checkpoint.add(&single)?;
            if exists(&index)? {
                checkpoint.warnings.push("model.safetensors.index.json is ignored: using model.safetensors".into());
            }
            return Ok(checkpoint);
        }
        if !exists(&index)? {
            return Err(LoadError::MissingFile {
                path: dir.into(),
                name: "model.safetensors and no model.safetensors.index.json".into(),
                help: "download the model's safetensors files; other formats (.bin, .pt) are not read",
            });
        }
        let map = read_index(&index)?;
        let mut names: Vec<&String> = map.values().collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let path = dir.join(name);
            if !exists(&path)? {
                let help = "the index names it: download all files of the model";
                return Err(LoadError::MissingFile { path: dir.into(), name: name.clone(), help });
            }
            checkpoint.add(&path)?;
        }
        checkpoint.check_index(&index, &map)?;
        Ok(checkpoint)
    }

    fn add(&mut self, path: &Path) -> Result<(), LoadError> {
        let file = MappedFile::open(path)?;
        let bytes = file.bytes();
        let shared: Arc<Path> = path.into();
        for (name, Entry { dtype, shape, range }) in safetensors::parse(path, &bytes)? {
            let Some(bytes) = bytes.slice(range) else { continue };
            let tensor = Tensor { path: Arc::clone(&shared), name: name.clone(), dtype, shape, bytes };
            if self.tensors.insert(name.clone(), tensor).is_some() {
                return Err(LoadError::Duplicate { path: path.into(), kind: "tensor", name });
            }
        }
        self.files.push(file);
        Ok(())
    }

    fn check_index(&self, index: &Path, map: &BTreeMap<String, String>) -> Result<(), LoadError> {
        let wrong = |tensor: &str, file: &str, problem| LoadError::ShardIndex {
            path: index.into(),
            tensor: shorten(tensor),
            file: shorten(file),
            problem,
        };
        for (name, file) in map {
            match self.tensors.get(name) {
                None => return Err(wrong(name, file, "no file has it")),
                Some(tensor) if !tensor.path.ends_with(file) => return Err(wrong(name, file, "is in another file")),
                Some(_) => {}
            }
        }
        match self.tensors.iter().find(|(name, _)| !map.contains_key(*name)) {
            Some((name, tensor)) => Err(wrong(name, &tensor.path.to_string_lossy(), "the index does not list it")),
            None => Ok(()),
        }
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Bytes of all tensors.
    pub fn bytes(&self) -> u64 {
        self.tensors.values().map(|tensor| tensor.bytes.len() as u64).sum()
    }

    /// Paths and lengths of the mapped files.
    pub fn files(&self) -> Vec<(PathBuf, u64)> {
        self.files.iter().map(|file| (file.path().into(), file.bytes().len() as u64)).collect()
    }

    /// Fails if a file's length changed since it was opened.
    pub fn check_unchanged(&self) -> Result<(), LoadError> {
        Ok(self.files.iter().try_for_each(MappedFile::check_unchanged)?)
    }
}

/// Whether a path exists; an error if that cannot be found out.
pub fn exists(path: &Path) -> Result<bool, LoadError> {
    let known = path.try_exists();
    Ok(known.map_err(|source| FileError::Io { path: path.into(), action: "examine", source })?)
}

/// Reads a file of a folder that need not be there.
pub fn read_optional(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, LoadError> {
    match read_file(path, limit) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_index(path: &Path) -> Result<BTreeMap<String, String>, LoadError> {
    let object = parse_object(path, &read_file(path, MAX_TEXT_BYTES)?)?;
    let key = |key: &str, found: String, expected: &str| LoadError::KeyValue {
        path: path.into(),
        key: key.into(),
        found: shorten(&found),
        expected: expected.into(),
    };
    let Some(map) = object.get("weight_map").and_then(|map| map.as_object()) else {
        let expected = "an object from tensor to file".into();
        return Err(LoadError::MissingKey { path: path.into(), key: "weight_map".into(), expected });
    };
    let mut files = BTreeMap::new();
    for (tensor, file) in map {
        let plain = |name: &&str| {
            !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\\', '\0']) && !name.starts_with('.')
        };
        let Some(name) = file.as_str().filter(plain) else {
            let expected = "the name of a file in the same folder";
            return Err(key(&format!("weight_map.{}", shorten(tensor)), file.to_string(), expected));
        };
        files.insert(tensor.clone(), name.to_string());
    }
    if files.is_empty() {
        return Err(key("weight_map", "{}".into(), "at least one tensor"));
    }
    Ok(files)
}
