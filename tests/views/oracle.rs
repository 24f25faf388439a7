//! What a caller must find, worked out from paths and from what it was given alone.

/// What a path of the tree is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    File,
    Directory,
    /// A link to a file beside it.
    Link,
    Nothing,
}

/// The tree that all these tests look at; a file's content is `v:` and its path.
pub const TREE: &[(&str, Kind)] = &[
    ("", Kind::Directory),
    ("both", Kind::File),
    ("box", Kind::Directory),
    ("box/x", Kind::File),
    ("common", Kind::Directory),
    ("common/link", Kind::Link),
    ("common/none", Kind::Nothing),
    ("common/one", Kind::File),
    ("common/two", Kind::File),
    ("db", Kind::Directory),
    ("db/other", Kind::File),
    ("db/web", Kind::File),
    ("late", Kind::File),
    ("named", Kind::File),
    ("none", Kind::Nothing),
    ("private", Kind::Directory),
    ("private/link", Kind::Link),
    ("private/none", Kind::Nothing),
    ("private/one", Kind::File),
    ("private/sub", Kind::Directory),
    ("private/sub/y", Kind::File),
    ("slice", Kind::Directory),
    ("slice/y", Kind::File),
    ("team", Kind::File),
    ("tools", Kind::Directory),
    ("tools/a", Kind::File),
    ("web", Kind::Directory),
    ("web/link", Kind::Link),
    ("web/one", Kind::File),
    ("web/sub", Kind::Directory),
    ("web/sub/deep", Kind::File),
];

/// Every link is called so, and leads to the file of this name beside it.
pub const LINK: (&str, &str) = ("link", "one");

/// The shares; [`super::place`] says who gets them.
pub const SHARES: &[(&str, &[&str])] = &[
    ("both", &["both"]),
    ("box", &["box/x"]),
    ("late", &["late"]),
    ("named", &["named"]),
    ("nobody", &["private/sub"]),
    ("one", &["common/one"]),
    ("slice", &["slice"]),
    ("team", &["team"]),
    ("tools", &["tools"]),
    ("two", &["common/two"]),
    ("web", &["web", "db/web"]),
];

fn is_below(path: &str, above: &str) -> bool {
    above.is_empty() || path == above || path.strip_prefix(above).is_some_and(|rest| rest.starts_with('/'))
}

fn kind(path: &str) -> Kind {
    TREE.iter().find(|(other, _)| *other == path).map_or(Kind::Nothing, |(_, kind)| *kind)
}

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

pub fn content(path: &str) -> String {
    format!("v:{path}")
}

/// Whether a caller with these shares may know of a path.
pub fn sees(given: &[&str], path: &str) -> bool {
    let paths = || SHARES.iter().filter(|(share, _)| given.contains(share)).flat_map(|(_, paths)| *paths);
    match kind(path) {
        Kind::Nothing => false,
        Kind::Directory => path.is_empty() || paths().any(|shared| is_below(path, shared) || is_below(shared, path)),
        Kind::File | Kind::Link => paths().any(|shared| is_below(path, shared)),
    }
}

fn listing(given: &[&str], directory: &str) -> String {
    let names = TREE.iter().filter(|(path, _)| !path.is_empty() && parent(path) == directory && sees(given, path));
    names.map(|(path, _)| path.rsplit('/').next().unwrap()).collect::<Vec<_>>().join(",")
}

/// A caller, as far as this is about it.
pub struct Given<'a> {
    pub shares: &'a [&'a str],
    /// access(2) asks for the real user, who was given this.
    pub really: &'a [&'a str],
    /// Others may have files open meanwhile.
    pub open: bool,
}

/// Whether a result is right for a way of [`super::place::probe`]; else what was wanted.
pub fn judge(given: &Given<'_>, way: &str, path: &str, result: &str) -> Result<(), String> {
    let (kind_of_way, way) = way.split_once(':').unwrap();
    let shares = if way == "access" { given.really } else { given.shares };
    if !sees(shares, path) {
        let guessed = sees(shares, parent(path)) && kind(path) != Kind::Nothing;
        return hidden(guessed, given.open, kind(path), (kind_of_way, way), result).map_err(str::to_owned);
    }
    let wanted = match (kind_of_way, kind(path)) {
        ("change", _) if result.starts_with(['=', 'o']) => return Err("a refusal".to_owned()),
        ("cached", _) if way != "openat2-cached" => "ok".to_owned(),
        // It is seen by another way that not all callers have.
        ("see", _) if way == "dot-dot" && !sees(shares, "common") => "ENOENT".to_owned(),
        ("see", kind) => match works(kind, way, path, shares) {
            Some(wanted) => wanted,
            None if result.starts_with(['=', 'o']) || result == "ENOENT" => "another error".to_owned(),
            None => return Ok(()),
        },
        _ => return Ok(()),
    };
    if result == wanted { Ok(()) } else { Err(wanted) }
}

/// What a caller must get of what it may see; `None`: an error that has nothing to do with shares.
fn works(kind: Kind, way: &str, path: &str, shares: &[&str]) -> Option<String> {
    let ok = || Some("ok".to_owned());
    match (kind, way) {
        (_, "stat" | "lstat" | "access" | "statfs" | "o-path-stat" | "watch")
        | (Kind::Directory, "dot-dot-itself" | "o-path-chdir" | "o-path-list")
        | (Kind::Link, "readlink") => ok(),
        (Kind::Link, "o-path-readlink") => Some(format!("={}", LINK.1)),
        (Kind::Directory, "list" | "scan" | "chdir") => Some(format!("={}", listing(shares, path))),
        (Kind::File | Kind::Link, "getxattr") => Some("=1".to_owned()),
        (Kind::File | Kind::Link, "listxattr") => Some("=user.pkfs.id,user.pkfs.version,user.pkfs.writer".to_owned()),
        (Kind::Directory, "listxattr") => Some("=".to_owned()),
        (Kind::Link, "open-nofollow" | "openat2-beneath" | "o-path-open") => None,
        (
            Kind::File | Kind::Link,
            "open"
            | "open-nofollow"
            | "open-nonblock"
            | "openat2"
            | "openat2-beneath"
            | "openat2-in-root"
            | "openat2-no-xdev"
            | "openat2-no-magiclinks"
            | "mmap"
            | "proc-root"
            | "dot-dot"
            | "o-path-open"
            | "io-uring",
        ) => {
            let target = if kind == Kind::Link { format!("{}/{}", parent(path), LINK.1) } else { path.to_owned() };
            Some(format!("={}", content(&target)))
        }
        _ => None,
    }
}

/// `guessed`: it is there, in a directory that the caller may look at. The kernel keeps names for all callers at once, so
/// that whoever guesses one, while it is cached, can learn that it is there: by a path descriptor, by attributes that are
/// explicitly those of the cache, and by errors that the kernel finds without asking. Attributes of a file that somebody has
/// open are answered to all, since whoever was handed the descriptor asks for them too. Contents and listings never.
pub fn hidden(guessed: bool, open: bool, kind: Kind, way: (&str, &str), result: &str) -> Result<(), &'static str> {
    const ATTRIBUTES: [&str; 6] = ["stat", "lstat", "access", "statfs", "o-path-stat", "watch"];
    let of_the_kernel = match way.1 {
        "handle" => &["EPERM"][..],
        "readlink" | "o-path-readlink" => &["EINVAL"],
        "list" | "scan" | "chdir" | "dot-dot-itself" | "o-path-chdir" | "o-path-list" => &["ENOTDIR"],
        "open-nofollow" | "openat2-beneath" | "o-path-open" => &["ELOOP"],
        // No permission of a link itself is ever asked for.
        "watch" if kind == Kind::Link => &["ok"],
        _ => &[],
    };
    let of_what_is_open = match result {
        "ok" => ATTRIBUTES.contains(&way.1),
        "EACCES" => true,
        _ => false,
    };
    let right = match way.0 {
        _ if result == "ENOENT" => true,
        // Nothing was found without asking.
        "cached" if result == "EAGAIN" => true,
        "cached" => guessed && result == "ok",
        "change" => !result.starts_with(['=', 'o']) && (guessed || result == "EACCES" || result == "EROFS"),
        _ => guessed && (of_the_kernel.contains(&result) || open && kind == Kind::File && of_what_is_open),
    };
    if right { Ok(()) } else { Err("ENOENT") }
}
