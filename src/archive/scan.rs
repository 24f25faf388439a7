//! From a file to a [`View`]: the base once, the tail as far as it is there.

use std::fs::File;
use std::sync::Arc;

use super::index::Index;
use super::member::{Found, Member, Name, parse_header};
use super::object::hash_object;
use super::pack::Pack;
use super::packed_refs::{self, PackedRefs};
use super::view::{View, read_loose};
use super::window::{Window, read_range, unreadable, zero_from};
use super::{KEYNODE_REF, MAX_SLOT, ObjectKind, Oid, template};
use crate::error::{Error, Kind, Result};

/// What follows the last accepted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Nothing.
    Clean,
    /// Something that does not verify: not yet whole, torn, or damaged. It is not part of the view.
    Unfinished {
        /// Where it starts, in bytes from the start of the file.
        from: u64,
        /// Where the file ends.
        to: u64,
    },
}

/// Whether the last transaction is read through, or known to be right because this process just wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trust {
    Verify,
    Written,
}

/// Reads the base and the tail of a file that is this long. Messages go on from the file's name.
pub(super) fn scan(file: &File, end: u64) -> Result<(View, Tail)> {
    let mut window = Window::new(file, end);
    let view = base(file, &mut window)?;
    let (view, tail) = tail(file, &mut window, view, Trust::Verify)?;
    if view.reference(KEYNODE_REF).is_none() {
        return Err(Error::damaged("is damaged: not one transaction in it is whole")
            .hint("take a backup; a keynode is never left like this by pkfs"));
    }
    Ok((view, tail))
}

/// Reads what was appended to a file of which `view` is known.
pub(super) fn scan_tail(file: &File, end: u64, view: View, trust: Trust) -> Result<(View, Tail)> {
    tail(file, &mut Window::new(file, end), view, trust)
}

/// How far a member of the base may come: the order that the grammar gives.
const fn rank(name: &Name) -> Option<u8> {
    match name {
        Name::Readme => Some(0),
        Name::Head => Some(1),
        Name::Config => Some(2),
        Name::Directory(_) => Some(3),
        Name::Slot(_) => Some(4),
        Name::Pack(_) | Name::Index(_) => Some(5),
        Name::PackedRefs => Some(6),
        Name::Loose(_) | Name::Ref(_) => None,
    }
}

fn base(file: &File, window: &mut Window<'_>) -> Result<View> {
    let mut view = View::default();
    let mut packs = Vec::new();
    let mut pending: Option<Member> = None;
    let mut at = 0;
    let mut before: Option<u8> = None;
    loop {
        let member = base_member(window, at, before.is_some_and(|rank| rank >= 2))?;
        let wrong = |what: &str| Error::damaged(format!("is damaged: {} at offset {at} {what}", member.name));
        let place = rank(&member.name).ok_or_else(|| wrong("stands before packed-refs"))?;
        if before.is_some_and(|b| place < b || place == b && place < 3) || before.is_none() && place != 0 {
            return Err(wrong("is not where it belongs"));
        }
        if place > 2 && before.is_some_and(|b| b < 2) {
            return Err(Error::new(Kind::Invalid, "is not a keynode: it has no config"));
        }
        before = Some(place);
        let small = |limit: u64| {
            let len = usize::try_from(member.size).ok().filter(|_| member.size <= limit);
            let len = len.ok_or_else(|| wrong("is too large"))?;
            read_range(file, member.data(), len)
        };
        match (&member.name, &pending) {
            (Name::Index(name), Some(pack)) if pack.name == Name::Pack(*name) => {
                let index = Index::open(file, member.data(), member.size)
                    .map_err(|e| e.at(format_args!("is damaged: {} at offset {at}", member.name)))?;
                let pack = Pack::open(file, *name, pack.data(), pack.size, index).map_err(|e| e.at("is damaged"))?;
                packs.push(pack);
                pending = None;
            }
            (Name::Index(_), _) | (_, Some(_)) => return Err(wrong("does not follow its pack")),
            (Name::Pack(_), None) => pending = Some(member.clone()),
            (Name::Head, _) if small(64 << 10)? != template::HEAD.as_bytes() => {
                return Err(wrong("does not name the control branch"));
            }
            (Name::Config, _) => template::check_config(&small(64 << 10)?)?,
            (Name::Slot(_), _) if member.size > MAX_SLOT => return Err(wrong("is too large")),
            (Name::PackedRefs, _) => {
                let refs = small(packed_refs::MAX_SIZE)?;
                view.packed_refs = Arc::new(PackedRefs::new(refs).map_err(|e| e.at("is damaged"))?);
            }
            _ => {}
        }
        view.apply(&member, None);
        at = member.next();
        if member.name == Name::PackedRefs {
            view.packs = Arc::new(packs);
            view.base_last = member.at;
            view.base_end = at;
            return Ok(view);
        }
    }
}

/// The next member of the base. `known`: whether it is sure by now that this is a keynode.
fn base_member(window: &mut Window<'_>, at: u64, known: bool) -> Result<Member> {
    let not_one = |what: &str| Error::new(Kind::Invalid, format!("is not a keynode{what}"));
    let damaged = |what: String| Error::damaged(format!("is damaged: {what}"));
    let end = window.end();
    let Some(block) = window.block(at).map_err(unreadable)? else {
        return Err(if at == 0 { not_one("") } else { damaged("it ends before the end of its base".into()) });
    };
    let tar = block.get(257..262) == Some(b"ustar");
    match parse_header(block, at) {
        Found::Member(member) if member.size <= end && member.next() <= end => Ok(member),
        Found::Member(member) => Err(damaged(format!("it ends within {}", member.name))),
        Found::Unknown(name) if known => Err(damaged(format!("{name} at offset {at} is no member of a keynode"))),
        Found::Unknown(_) => Err(not_one(": it is some other tar archive")),
        Found::Zero if at > 0 => Err(damaged(format!("its base ends at offset {at} without packed-refs"))),
        Found::Broken if at > 0 => Err(damaged(format!("there is no member at offset {at}"))),
        _ if tar => Err(not_one(": it is some other tar archive, or its first bytes are damaged")),
        _ => Err(not_one("")),
    }
}

/// Members with what refs among them point to.
type Members = Vec<(Member, Option<Oid>)>;

fn tail(file: &File, window: &mut Window<'_>, mut view: View, trust: Trust) -> Result<(View, Tail)> {
    let end = window.end();
    let mut at = view.end;
    // The last transaction stays apart until another follows it: only the last can be torn.
    let mut last: Members = Vec::new();
    let mut open: Members = Vec::new();
    while let Some(member) = tail_member(window, at)? {
        let target = match &member.name {
            Name::Ref(_) => match ref_target(window, &member)? {
                Some(oid) => Some(oid),
                None => break,
            },
            _ => None,
        };
        at = member.next();
        let closes = member.name.closes();
        open.push((member, target));
        if closes {
            for (member, target) in std::mem::replace(&mut last, std::mem::take(&mut open)) {
                view.apply(&member, target);
            }
        }
    }
    let from = last.first().map_or(view.end, |(member, _)| member.at);
    if trust == Trust::Verify && !verifies(file, &last)? {
        return Ok((view, Tail::Unfinished { from, to: end }));
    }
    for (member, target) in last {
        view.apply(&member, target);
    }
    let clean = open.is_empty() && zero_from(file, view.end, end).map_err(unreadable)?;
    let tail = if clean { Tail::Clean } else { Tail::Unfinished { from: view.end, to: end } };
    Ok((view, tail))
}

/// The member of the tail at this offset; nothing where the members end, for whatever reason.
fn tail_member(window: &mut Window<'_>, at: u64) -> Result<Option<Member>> {
    let end = window.end();
    let Some(block) = window.block(at).map_err(unreadable)? else { return Ok(None) };
    match parse_header(block, at) {
        Found::Member(member) => {
            let place = matches!(member.name, Name::Slot(_) | Name::Loose(_) | Name::Ref(_));
            let fits = member.size <= end && member.next() <= end;
            let small = !matches!(member.name, Name::Slot(_)) || member.size <= MAX_SLOT;
            if !place {
                return Err(Error::damaged(format!("is damaged: {} at offset {at} is there twice", member.name)));
            }
            Ok((fits && small).then_some(member))
        }
        Found::Unknown(name) => {
            Err(Error::damaged(format!("is damaged: {name} at offset {at} is no member of a keynode")))
        }
        Found::Zero | Found::Broken => Ok(None),
    }
}

/// What a ref's content names.
pub(super) fn ref_target(window: &mut Window<'_>, member: &Member) -> Result<Option<Oid>> {
    if member.size != 41 {
        return Ok(None);
    }
    let block = window.block(member.data()).map_err(unreadable)?;
    let Some((line, rest)) = block.and_then(|b| b.split_at_checked(41)) else { return Ok(None) };
    if rest.iter().any(|b| *b != 0) {
        return Ok(None);
    }
    let target = line.strip_suffix(b"\n").and_then(Oid::from_hex);
    Ok(target.filter(|oid| match &member.name {
        Name::Ref(name) => name.strip_prefix(super::INBOX_PREFIX).is_none_or(|commit| commit == oid.to_string()),
        _ => false,
    }))
}

/// Whether a transaction is whole: each object matches its name, and the commit that closes it is among them.
fn verifies(file: &File, members: &Members) -> Result<bool> {
    let Some((_, closing)) = members.last() else { return Ok(true) };
    let mut closed = false;
    for (member, _) in members {
        let Name::Loose(oid) = &member.name else { continue };
        match read_loose(file, member.into()) {
            Ok(object) if hash_object(object.kind, &object.data) == *oid => {
                closed |= object.kind == ObjectKind::Commit && *closing == Some(*oid);
            }
            Ok(_) => return Ok(false),
            Err(error) if error.kind() == Kind::Damaged => return Ok(false),
            Err(error) => return Err(error),
        }
    }
    Ok(closed)
}
