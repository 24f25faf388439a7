//! Files that were damaged or forged: the script says so, and nothing of what is wrong comes out.

use super::bench::Bench;

/// Puts two secrets into `a.pk` and extracts it.
fn two(bench: &Bench) {
    bench.put("one", b"the first value");
    bench.put("two", b"the other value");
    bench.put("two", b"the other value, again");
    bench.extracted();
}

/// The member of the archive that holds what a revision names.
fn object(bench: &Bench, revision: &str) -> String {
    let oid = bench.git(&["--git-dir=repository", "rev-parse", revision]);
    format!("objects/{}/{}", &oid[..2], &oid[2..])
}

/// The reference of a secret.
fn branch(bench: &Bench, path: &str) -> String {
    let versions: serde_json::Value = serde_json::from_slice(&bench.k(&["log", "a.pk", path, "--json"])).unwrap();
    format!("refs/heads/secrets/{}", versions[0]["id"].as_str().unwrap())
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let bench = Bench::new();
    two(&bench);
    let value = object(&bench, &format!("{}:value.pgp", branch(&bench, "one")));
    for member in [
        value.clone(),
        object(&bench, &branch(&bench, "one")),
        object(&bench, "keynode"),
        object(&bench, "keynode~1:change.pgp"),
    ] {
        for position in [1, 3, 7] {
            let flip = |path: &str, data: &mut Vec<u8>| {
                if path == member {
                    let at = data.len() * position / 8;
                    data[at] ^= 1;
                }
            };
            bench.rebuilt("b.pk", flip, None);
            bench.s(&["verify", "b.pk"]).fails(4);
            if member == value {
                bench.s(&["get", "b.pk", "one"]).fails(4);
                assert_eq!(bench.s(&["get", "b.pk", "two"]).ok(), b"the other value, again");
            }
        }
    }
}

/// A checkpoint is no more than a shorter way: what of it is not needed is not looked at, and the log says it all too.
#[test]
fn a_damaged_checkpoint_is_done_without() {
    let bench = Bench::new();
    two(&bench);
    bench.k(&["compact", "a.pk"]);
    bench.put("three", b"since");
    bench.extracted();
    for (file, needed) in [("items.pgp", false), ("directory.pgp", true), ("heads", true), ("digests", true)] {
        bench.damaged("a.pk", "b.pk", &format!("checkpoint:{file}"));
        bench.s(&["verify", "b.pk"]).fails(4);
        let done = bench.s(&["get", "b.pk", "two"]);
        assert_eq!(done.err.contains("reading the whole log instead"), needed, "{file}: {}", done.err);
        assert_eq!(done.ok(), b"the other value, again", "{file}");
        assert_eq!(bench.s(&["ls", "b.pk"]).text(), "one\nthree\ntwo\n", "{file}");
        assert_eq!(bench.s(&["log", "b.pk", "two"]).text().lines().count(), 2, "{file}");
    }
}

/// A log without what its checkpoint reflects is one that was cut back, whether or not the checkpoint can still be read.
#[test]
fn a_log_that_was_cut_back_is_found() {
    let bench = Bench::new();
    two(&bench);
    bench.k(&["compact", "a.pk"]);
    bench.extracted();
    let [head, before] = ["keynode", "keynode~1"].map(|name| bench.git(&["--git-dir=repository", "rev-parse", name]));
    let cut = |data: Vec<u8>| {
        let text = String::from_utf8_lossy(&data)
            .replace(&format!("{head} refs/heads/keynode"), &format!("{before} refs/heads/keynode"));
        text.into_bytes()
    };
    bench.rebuilt(
        "b.pk",
        |path, data| {
            if path == "packed-refs" {
                *data = cut(std::mem::take(data));
            }
        },
        None,
    );
    for damaged in [None, Some("heads"), Some("directory.pgp"), Some("digests")] {
        if let Some(file) = damaged {
            bench.damaged("b.pk", "c.pk", &format!("checkpoint:{file}"));
        } else {
            std::fs::copy(bench.path("b.pk"), bench.path("c.pk")).unwrap();
        }
        assert_eq!(bench.pkfs(&["ls", "c.pk", "--key", "a.key"]).status, 7, "{damaged:?}");
        for command in [&["ls", "c.pk"][..], &["get", "c.pk", "one"], &["log", "c.pk"]] {
            let done = bench.s(command);
            assert_eq!((done.status, done.bytes.len()), (7, 0), "{damaged:?} {command:?}: {}", done.err);
        }
    }
}

#[test]
fn a_swapped_blob_is_found() {
    let bench = Bench::new();
    two(&bench);
    let [one, two] = ["one", "two"].map(|path| object(&bench, &format!("{}:value.pgp", branch(&bench, path))));
    let other = std::fs::read(bench.path("repository").join(&two)).unwrap();
    bench.rebuilt(
        "b.pk",
        |path, data| {
            if path == one {
                data.clone_from(&other);
            }
        },
        None,
    );
    bench.s(&["verify", "b.pk"]).fails(4);
    bench.s(&["get", "b.pk", "one"]).fails(4);
}

#[test]
fn references_moved_by_hand_are_found_and_change_nothing() {
    let bench = Bench::new();
    two(&bench);
    let (one, two) = (branch(&bench, "one"), branch(&bench, "two"));
    let old = bench.git(&["--git-dir=repository", "rev-parse", &format!("{two}~1")]);
    let other = bench.git(&["--git-dir=repository", "rev-parse", &one]);
    for commit in [old, other] {
        bench.rebuilt("b.pk", |_, _| (), Some((&two, format!("{commit}\n").as_bytes())));
        let line = bench.s(&["verify", "b.pk"]).fails(4);
        assert!(line.contains("is not what the log names"), "{line}");
        assert_eq!(bench.s(&["get", "b.pk", "two"]).ok(), b"the other value, again");
    }
}

#[test]
fn a_forged_log_is_refused() {
    let bench = Bench::new();
    two(&bench);
    let git = |arguments: &[&str]| bench.git(&[&["--git-dir=repository"], arguments].concat());
    // The log's head anew, without its signature: the same tree, the same message, but nobody signed it.
    let message = git(&["log", "-1", "--format=%B", "keynode"]);
    let forged = git(&["commit-tree", "keynode^{tree}", "-p", "keynode~1", "-m", &message]);
    let path = format!("objects/{}/{}", &forged[..2], &forged[2..]);
    let object = std::fs::read(bench.path("repository").join(&path)).unwrap();
    bench.rebuilt("b.pk", |_, _| (), Some((&path, &object)));
    std::fs::rename(bench.path("b.pk"), bench.path("a.pk")).unwrap();
    for head in [forged, git(&["rev-parse", &branch_in(&bench)]), git(&["rev-parse", "checkpoint"])] {
        bench.rebuilt("b.pk", |_, _| (), Some(("refs/heads/keynode", format!("{head}\n").as_bytes())));
        for command in [&["verify", "b.pk"][..], &["ls", "b.pk"], &["get", "b.pk", "one"], &["log", "b.pk"]] {
            let done = bench.s(command);
            assert!([4, 7].contains(&done.status) && done.bytes.is_empty(), "{command:?} {}", done.err);
        }
    }
}

/// Any secret's branch, as the extracted repository has it.
fn branch_in(bench: &Bench) -> String {
    let all = bench.git(&["--git-dir=repository", "for-each-ref", "--format=%(refname)", "refs/heads/secrets"]);
    all.lines().next().unwrap().to_owned()
}

#[test]
fn an_older_log_beside_newer_references_is_found() {
    let bench = Bench::new();
    two(&bench);
    let old = bench.git(&["--git-dir=repository", "rev-parse", "keynode~1"]);
    bench.rebuilt("b.pk", |_, _| (), Some(("refs/heads/keynode", format!("{old}\n").as_bytes())));
    bench.s(&["verify", "b.pk"]).fails(4);
}

#[test]
fn a_lost_checkpoint_is_read_around() {
    let bench = Bench::new();
    two(&bench);
    let head = bench.git(&["--git-dir=repository", "rev-parse", "keynode"]);
    bench.rebuilt("b.pk", |_, _| (), Some(("refs/heads/checkpoint", format!("{}\n", "0".repeat(40)).as_bytes())));
    bench.s(&["verify", "b.pk"]).fails(4);
    let done = bench.s(&["ls", "b.pk"]);
    assert!(done.err.contains("reading the whole log instead"), "{}", done.err);
    assert_eq!(done.ok(), b"one\ntwo\n");
    // A commit of the log in its place is signed but no checkpoint.
    bench.rebuilt("b.pk", |_, _| (), Some(("refs/heads/checkpoint", format!("{head}\n").as_bytes())));
    bench.s(&["ls", "b.pk"]).fails(4);
}

#[test]
fn members_that_no_keynode_has_are_refused_before_they_are_extracted() {
    let bench = Bench::new();
    bench.put("one", b"1");
    for path in ["objects/info/alternates", "refs/heads/other", "hooks/post-checkout", "refs/replace/00", "shallow"] {
        bench.rebuilt("b.pk", |_, _| (), Some((path, b"/\n")));
        let line = bench.s(&["get", "b.pk", "one"]).fails(4);
        assert!(line.contains("members that no keynode has"), "{path}: {line}");
    }
    let link = "import tarfile\nt = tarfile.open('b.pk', 'a')\ni = tarfile.TarInfo('objects/aa')\ni.type = tarfile.SYMTYPE\n\
                i.linkname = '/tmp'\nt.addfile(i)\nt.close()";
    std::fs::copy(bench.path("a.pk"), bench.path("b.pk")).unwrap();
    bench.tool("python3", &["-c", link]);
    bench.s(&["ls", "b.pk"]).fails(4);
    for bytes in [&b""[..], b"not a tar", &[0; 10240]] {
        std::fs::write(bench.path("b.pk"), bytes).unwrap();
        bench.s(&["ls", "b.pk"]).fails(4);
    }
}

#[test]
fn a_file_cut_short_still_gives_what_verifies() {
    let bench = Bench::new();
    let before = std::fs::metadata(bench.path("a.pk")).unwrap().len();
    bench.put("one", b"1");
    let whole = std::fs::read(bench.path("a.pk")).unwrap();
    assert!(whole.len() as u64 > before);
    // In the middle of a member, before the closing reference.
    std::fs::write(bench.path("b.pk"), &whole[..usize::try_from(before).unwrap() + 700]).unwrap();
    let done = bench.s(&["ls", "b.pk"]);
    assert_eq!((done.status, done.bytes.len()), (0, 0), "{}", done.err);
    assert!(done.err.contains("cut short"), "{}", done.err);
    assert_eq!(bench.s(&["verify", "b.pk"]).status, 4);
}

/// Somebody who may sign, yet not read: a secret's new head holds another secret's message.
#[test]
fn a_message_out_of_its_place_is_refused() {
    let bench = Bench::new();
    two(&bench);
    bench.tool("gpg", &["--batch", "--quiet", "--import", "a.key"]);
    let id = branch(&bench, "two").rsplit('/').next().unwrap().to_owned();
    // The log's head wrote `two` anew, so its change fits once more.
    let forge = r#"
        set -eu
        export GIT_DIR=repository GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null
        node=$(gpg --with-colons --list-secret-keys | sed -n 's/^fpr:*\([0-9A-F]*\):$/\1/p;' | head -n 1)
        export GIT_AUTHOR_NAME=$node GIT_COMMITTER_NAME=$node GIT_AUTHOR_EMAIL= GIT_COMMITTER_EMAIL=
        export GIT_AUTHOR_DATE='1800000000 +0000' GIT_COMMITTER_DATE='1800000000 +0000'
        digest() { git cat-file commit "$1" | sha256sum | sed 's/ .*//'; }
        trailers() { git log -1 --format=%b "$1" | grep '^Content:'; }
        sign() { git commit-tree -S"$node" "$@"; }
        one=$(git rev-parse "$0")
        head=$(printf 'secret %s\n\nSession: 00112233445566778899aabbccddeeff\n%s\nParent: sha256:%s\n' "$1" \
            "$(trailers "$one")" "$(digest "refs/heads/secrets/$1")" |
            sign "$one^{tree}" -p "refs/heads/secrets/$1")
        printf 'transaction\n\n%s\nParent: sha256:%s\nHead: %s 3 %s sha256:%s\n' \
            "$(trailers keynode)" "$(digest keynode)" "$1" "$head" "$(digest "$head")" |
            sign 'keynode^{tree}' -p keynode >log
        printf '%s\n' "$head" >head
    "#;
    bench.tool("sh", &["-c", forge, &branch(&bench, "one"), &id]);
    bench.tool("gpgconf", &["--kill", "all"]);
    for name in ["head", "log"] {
        let oid = std::fs::read_to_string(bench.path(name)).unwrap();
        let path = format!("objects/{}/{}", &oid[..2], oid[2..].trim_end());
        let object = std::fs::read(bench.path("repository").join(&path)).unwrap();
        bench.rebuilt("b.pk", |_, _| (), Some((&path, &object)));
        std::fs::rename(bench.path("b.pk"), bench.path("a.pk")).unwrap();
    }
    for (name, file) in [(format!("refs/heads/secrets/{id}"), "head"), ("refs/heads/keynode".to_owned(), "log")] {
        let commit = std::fs::read(bench.path(file)).unwrap();
        bench.rebuilt("b.pk", |_, _| (), Some((&name, &commit)));
        std::fs::rename(bench.path("b.pk"), bench.path("a.pk")).unwrap();
    }
    // All is signed and consistent: only the message's own place tells.
    bench.s(&["verify", "a.pk"]).ok();
    assert_eq!(bench.s(&["get", "a.pk", "two", "2"]).ok(), b"the other value, again");
    let line = bench.s(&["get", "a.pk", "two"]).fails(4);
    assert!(line.contains("not in its place"), "{line}");
    assert_eq!(bench.pkfs(&["get", "a.pk", "two", "--key", "a.key"]).status, 4);
}
