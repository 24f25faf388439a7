//! One line of the namespace: what a transaction changed, and most of what a checkpoint says ([`super::directory`]
//! has the rest).
//!
//! Fields are separated by tabs, paths quoted as git does ([`mod@super::quote`]), times are `seconds[.nnnnnnnnn]`:
//!
//! | line | fields |
//! |---|---|
//! | `directory` | path (`/` is the top), id, attributes |
//! | `secret` | id, attributes, size in bytes, origin or `-`, writers (comma-separated fingerprints) or `-`, session key |
//! | `symlink` | id, attributes, target |
//! | `fifo`, `socket` | id, attributes |
//! | `attributes` | id, attributes |
//! | `name` | path, id (a second name of one id is a hard link) |
//! | `former` | path, id: the last name of a secret that has none any more (in checkpoints and after a repair) |
//! | `remove`, `forget` | path; `forget` drops the history too |
//! | `move`, `exchange` | path, path |
//! | `slot` | `add` or `remove`, slot name (nothing in the namespace changes) |
//! | `share` | what happened (`create`, `add`, `remove`, `allow`, `deny`, `alert`, `delete`), share (what it says stands in `shares.pgp`) |
//! | `repaired` | commit that the log was rebuilt from (likewise) |
//!
//! Attributes are six fields: mode (octal), uid, gid, mtime, atime, ctime; the last two `-` where they equal mtime.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use super::attributes::Attributes;
use super::id::ItemId;
use super::name::ItemPath;
use super::quote::{quote, quoted, unquote};
use super::share::ShareName;
use crate::archive::Oid;
use crate::crypto::{Fingerprint, Locked, SessionKey};
use crate::error::{Error, Result};
use crate::hex;
use crate::time::Timestamp;

/// What the namespace keeps of a secret beside its head.
#[derive(Clone, Debug)]
pub struct SecretLine {
    /// Bytes of the present value.
    pub size: u64,
    /// The node that it came from; `None`: this one.
    pub origin: Option<Fingerprint>,
    /// Who beside the node may write it.
    pub writers: Arc<[Fingerprint]>,
    /// The key of the head's message.
    pub key: SessionKey,
}

impl SecretLine {
    /// That of a secret of which nothing is known; its key opens nothing.
    pub(super) fn unknown() -> Result<Self> {
        Ok(Self { size: 0, origin: None, writers: Vec::new().into(), key: SessionKey::random()? })
    }
}

/// One change.
#[derive(Clone, Debug)]
#[allow(missing_docs, reason = "the fields are those of the table above")]
pub enum Change {
    Directory { path: ItemPath, id: ItemId, attributes: Attributes },
    Secret { id: ItemId, attributes: Attributes, secret: SecretLine },
    Symlink { id: ItemId, attributes: Attributes, target: Arc<[u8]> },
    Fifo { id: ItemId, attributes: Attributes },
    Socket { id: ItemId, attributes: Attributes },
    Attributes { id: ItemId, attributes: Attributes },
    Name { path: ItemPath, id: ItemId },
    Former { path: ItemPath, id: ItemId },
    Remove { path: ItemPath },
    Forget { path: ItemPath },
    Move { from: ItemPath, to: ItemPath },
    Exchange { one: ItemPath, other: ItemPath },
    Slot { added: bool, name: String },
    Share { what: ShareChange, name: ShareName },
    Repaired { commit: Oid },
}

/// What was done to a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words of the command")]
pub enum ShareChange {
    Create,
    Add,
    Remove,
    Allow,
    Deny,
    Alert,
    Delete,
}

impl ShareChange {
    const ALL: [Self; 7] = [Self::Create, Self::Add, Self::Remove, Self::Allow, Self::Deny, Self::Alert, Self::Delete];

    const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Alert => "alert",
            Self::Delete => "delete",
        }
    }

    fn parse(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|what| what.word().as_bytes() == word)
    }
}

impl Change {
    /// Appends the line, newline included.
    pub fn write(&self, out: &mut Locked) {
        let mut line = Line(out);
        match self {
            Self::Directory { path, id, attributes } => {
                line.word("directory").path(path).show(id).attributes(attributes);
            }
            Self::Secret { id, attributes, secret } => {
                line.word("secret").show(id).attributes(attributes).show(&secret.size);
                match &secret.origin {
                    Some(origin) => line.show(origin),
                    None => line.show(&'-'),
                };
                line.list(&secret.writers).key(&secret.key);
            }
            Self::Symlink { id, attributes, target } => {
                line.word("symlink").show(id).attributes(attributes).bytes(target);
            }
            Self::Fifo { id, attributes } => {
                line.word("fifo").show(id).attributes(attributes);
            }
            Self::Socket { id, attributes } => {
                line.word("socket").show(id).attributes(attributes);
            }
            Self::Attributes { id, attributes } => {
                line.word("attributes").show(id).attributes(attributes);
            }
            Self::Name { path, id } => {
                line.word("name").path(path).show(id);
            }
            Self::Former { path, id } => {
                line.word("former").path(path).show(id);
            }
            Self::Remove { path } => {
                line.word("remove").path(path);
            }
            Self::Forget { path } => {
                line.word("forget").path(path);
            }
            Self::Move { from, to } => {
                line.word("move").path(from).path(to);
            }
            Self::Exchange { one, other } => {
                line.word("exchange").path(one).path(other);
            }
            Self::Slot { added, name } => {
                line.word("slot").show(&if *added { "add" } else { "remove" }).show(name);
            }
            Self::Share { what, name } => {
                line.word("share").show(&what.word()).show(name);
            }
            Self::Repaired { commit } => {
                line.word("repaired").show(commit);
            }
        }
        out.extend_from_slice(b"\n");
    }

    /// Reads a line without its newline.
    ///
    /// # Errors
    /// [`crate::error::Kind::Damaged`] where it is not in the form that [`Self::write`] gives it.
    pub fn parse(line: &[u8]) -> Result<Self> {
        Fields(line.split(|&b| b == b'\t')).change().ok_or_else(|| {
            let word = line.split(|&b| b == b'\t').next().unwrap_or_default();
            Error::damaged(format!("a line {} of the namespace is not understood", quoted(&word[..word.len().min(20)])))
        })
    }
}

/// One plain line for people: never the session key.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory { path, .. } => write!(f, "directory {path}"),
            Self::Secret { id, secret, .. } => write!(f, "secret {id}, {} bytes", secret.size),
            Self::Symlink { id, target, .. } => write!(f, "symlink {id} to {}", quoted(target)),
            Self::Fifo { id, .. } => write!(f, "fifo {id}"),
            Self::Socket { id, .. } => write!(f, "socket {id}"),
            Self::Attributes { id, attributes } => {
                write!(f, "attributes of {id}: {:04o} {}:{}", attributes.mode, attributes.uid, attributes.gid)
            }
            Self::Name { path, id } => write!(f, "name {path} for {id}"),
            Self::Former { path, id } => write!(f, "former name {path} of {id}"),
            Self::Remove { path } => write!(f, "remove {path}"),
            Self::Forget { path } => write!(f, "forget {path}"),
            Self::Move { from, to } => write!(f, "move {from} to {to}"),
            Self::Exchange { one, other } => write!(f, "exchange {one} and {other}"),
            Self::Slot { added: true, name } => write!(f, "slot {name} added"),
            Self::Slot { added: false, name } => write!(f, "slot {name} removed"),
            Self::Share { what, name } => write!(f, "share {name}: {}", what.word()),
            Self::Repaired { commit } => write!(f, "repaired from {commit}"),
        }
    }
}

/// A line being written.
struct Line<'a>(&'a mut Locked);

impl Line<'_> {
    fn word(&mut self, word: &str) -> &mut Self {
        self.0.extend_from_slice(word.as_bytes());
        self
    }

    fn show(&mut self, value: &impl fmt::Display) -> &mut Self {
        // Writing to memory does not fail.
        let _ = write!(self.0, "\t{value}");
        self
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        let mut text = vec![b'\t'];
        quote(bytes, &mut text);
        self.0.extend_from_slice(&text);
        self
    }

    fn path(&mut self, path: &ItemPath) -> &mut Self {
        if path.is_root() { self.show(&'/') } else { self.bytes(&path.to_bytes()) }
    }

    fn list(&mut self, writers: &[Fingerprint]) -> &mut Self {
        if writers.is_empty() {
            return self.show(&'-');
        }
        for (n, writer) in writers.iter().enumerate() {
            let _ = write!(self.0, "{}{writer}", if n == 0 { '\t' } else { ',' });
        }
        self
    }

    fn key(&mut self, key: &SessionKey) -> &mut Self {
        self.0.extend_from_slice(b"\t");
        let at = self.0.len();
        self.0.resize(at + 2 * key.as_slice().len());
        hex::write_into(key.as_slice(), &mut self.0[at..]);
        self
    }

    fn attributes(&mut self, a: &Attributes) -> &mut Self {
        let _ = write!(self.0, "\t{:o}\t{}\t{}\t{}", a.mode, a.uid, a.gid, a.mtime);
        for time in [a.atime, a.ctime] {
            if time == a.mtime {
                self.show(&'-')
            } else {
                self.show(&time)
            };
        }
        self
    }
}

/// A line being read.
struct Fields<I>(I);

impl<'a, I: Iterator<Item = &'a [u8]>> Fields<I> {
    fn change(&mut self) -> Option<Change> {
        let change = match self.0.next()? {
            b"directory" => Change::Directory { path: self.path()?, id: self.id()?, attributes: self.attributes()? },
            b"secret" => Change::Secret { id: self.id()?, attributes: self.attributes()?, secret: self.secret()? },
            b"symlink" => {
                let (id, attributes) = (self.id()?, self.attributes()?);
                Change::Symlink { id, attributes, target: unquote(self.0.next()?)?.into() }
            }
            b"fifo" => Change::Fifo { id: self.id()?, attributes: self.attributes()? },
            b"socket" => Change::Socket { id: self.id()?, attributes: self.attributes()? },
            b"attributes" => Change::Attributes { id: self.id()?, attributes: self.attributes()? },
            b"name" => Change::Name { path: self.path()?, id: self.id()? },
            b"former" => Change::Former { path: self.path()?, id: self.id()? },
            b"remove" => Change::Remove { path: self.path()? },
            b"forget" => Change::Forget { path: self.path()? },
            b"move" => Change::Move { from: self.path()?, to: self.path()? },
            b"exchange" => Change::Exchange { one: self.path()?, other: self.path()? },
            b"slot" => {
                let added = match self.0.next()? {
                    b"add" => true,
                    b"remove" => false,
                    _ => return None,
                };
                Change::Slot { added, name: String::from_utf8(self.0.next()?.to_vec()).ok()? }
            }
            b"share" => {
                let what = ShareChange::parse(self.0.next()?)?;
                Change::Share { what, name: self.text()?.parse().ok()? }
            }
            b"repaired" => Change::Repaired { commit: self.text()?.parse().ok()? },
            _ => return None,
        };
        self.0.next().is_none().then_some(change)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.0.next()?).ok()
    }

    fn id(&mut self) -> Option<ItemId> {
        ItemId::from_hex(self.0.next()?)
    }

    fn path(&mut self) -> Option<ItemPath> {
        let field = self.0.next()?;
        if field == b"/" {
            return Some(ItemPath::root());
        }
        let bytes = unquote(field)?;
        let path = ItemPath::parse(&bytes).ok()?;
        // One path has one form, so that nobody can hide one behind another spelling.
        (!path.is_root() && path.components().iter().map(|c| c.as_bytes().len() + 1).sum::<usize>() == bytes.len() + 1)
            .then_some(path)
    }

    fn attributes(&mut self) -> Option<Attributes> {
        let mode = u32::from_str_radix(self.text()?, 8).ok().filter(|mode| mode & !0o7777 == 0)?;
        let (uid, gid) = (self.text()?.parse().ok()?, self.text()?.parse().ok()?);
        let mtime: Timestamp = self.text()?.parse().ok()?;
        let mut time = || match self.text()? {
            "-" => Some(mtime),
            text => text.parse().ok(),
        };
        Some(Attributes { mode, uid, gid, mtime, atime: time()?, ctime: time()? })
    }

    fn secret(&mut self) -> Option<SecretLine> {
        let size = self.text()?.parse().ok()?;
        let origin = match self.text()? {
            "-" => None,
            text => Some(text.parse().ok()?),
        };
        let writers = match self.text()? {
            "-" => Vec::new(),
            text => text.split(',').map(str::parse).collect::<Result<Vec<Fingerprint>, _>>().ok()?,
        };
        let digits = self.0.next().filter(|digits| digits.len() == 64)?;
        let mut key = Locked::zeroed(digits.len() / 2);
        hex::read_into(digits, &mut key)?;
        Some(SecretLine { size, origin, writers: writers.into(), key: SessionKey::from_slice(&key)? })
    }
}
