//! What `scripts/bench` has prepared: a line each, fields separated by tabs. `user` and `below` are about the mount before.

use std::fs;
use std::path::{Path, PathBuf};

use crate::Outcome;
use crate::peer::Peer;

/// What a command does, so that those that do the same are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Get,
    Put,
}

/// A program that reads or writes one secret.
pub struct Tool {
    pub kind: Kind,
    pub name: String,
    /// Program and arguments.
    pub words: Vec<String>,
}

/// A keynode whose mounting is timed.
pub struct Growth {
    pub secrets: usize,
    /// How many of each, and whether the file is compacted.
    pub versions: String,
    pub file: PathBuf,
    pub mount_point: PathBuf,
    pub mount: String,
}

#[derive(Default)]
pub struct Plan {
    pub peers: Vec<Peer>,
    pub tools: Vec<Tool>,
    pub growth: Vec<Growth>,
    /// A keynode and its key, for taking a read apart.
    pub keynode: Option<(PathBuf, PathBuf)>,
    /// What the results say beside the figures.
    pub notes: Vec<String>,
}

impl Plan {
    pub fn read(file: &Path) -> Outcome<Self> {
        let mut plan = Self::default();
        for line in fs::read_to_string(file)?.lines() {
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect();
            match line.split('\t').collect::<Vec<_>>().as_slice() {
                ["mount", name, access, directory, command] => {
                    plan.peers.push(Peer::new(name, *access == "rw", directory, command));
                }
                ["user", uid] => plan.peers.last_mut().ok_or("whose user?")?.user = Some(uid.parse()?),
                ["below", path] => plan.peers.last_mut().ok_or("below what?")?.below(path),
                ["get", name, command] => {
                    plan.tools.push(Tool { kind: Kind::Get, name: (*name).to_owned(), words: words(command) });
                }
                ["put", name, command] => {
                    plan.tools.push(Tool { kind: Kind::Put, name: (*name).to_owned(), words: words(command) });
                }
                ["growth", secrets, versions, file, directory, command] => plan.growth.push(Growth {
                    secrets: secrets.parse()?,
                    versions: (*versions).to_owned(),
                    file: file.into(),
                    mount_point: directory.into(),
                    mount: (*command).to_owned(),
                }),
                ["keynode", file, key] => plan.keynode = Some((file.into(), key.into())),
                ["note", note] => plan.notes.push((*note).to_owned()),
                _ => return Err(format!("not understood: {line}").into()),
            }
        }
        Ok(plan)
    }
}
